// Any bytes as a SentencePiece model or a tiktoken file: as tokenizer_json_fuzz.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/errors.h"
#include "model/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using nibble::Tokenizer;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const auto kind : {Tokenizer::FileKind::sentencepiece, Tokenizer::FileKind::tiktoken,
                          Tokenizer::FileKind::vocab_txt}) {
    try {
      const auto tokenizer = Tokenizer::from_bytes(kind, bytes, "tokenizer.model");
      const auto ids = tokenizer->encode("the Fox \xF0\x9F\x98\x80 e\xCC\x81\xFF 12\n\t x<s>");
      tokenizer->decode(ids, false);
    } catch (const nibble::UserError&) {
    }
  }
  return 0;
}
