#include "model/text/tokenizer_fit.h"

#include "base/errors.h"

namespace nibble {

std::unique_ptr<Tokenizer> load_fitting_tokenizer(const std::string& directory, int64_t vocab) {
  auto tokenizer = Tokenizer::load(directory);
  if (tokenizer->vocab_size() > vocab)
    throw UserError(directory,
                    cat("the tokenizer has ids up to ", tokenizer->vocab_size() - 1,
                        ", the model's vocabulary has ", vocab),
                    "use the tokenizer that belongs to these weights", Exit::bad_data);
  return tokenizer;
}

}  // namespace nibble
