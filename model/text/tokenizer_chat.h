// The chat template that belongs to a tokenizer: its own, the one that the user chose, or ChatML.
#pragma once

#include "model/text/chat_template.h"
#include "model/text/tokenizer.h"

namespace nibble {

// `directory` is the model's folder. `choice` as user_template() takes it, "" for the model's own;
// `where` names the setting it came from. Throws UserError.
ChatTemplate chat_template_of(const Tokenizer& tokenizer, const std::string& directory,
                              const std::string& choice = "",
                              const std::string& where = "chat_template");

// bos_token, eos_token and, where the tokenizer has them, pad_token and unk_token.
Json template_variables(const Tokenizer& tokenizer);

}  // namespace nibble
