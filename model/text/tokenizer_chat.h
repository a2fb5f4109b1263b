// The chat template that belongs to a tokenizer: its own, or ChatML when it has none.
#pragma once

#include "model/text/chat_template.h"
#include "model/text/tokenizer.h"

namespace nibble {

ChatTemplate chat_template_of(const Tokenizer& tokenizer);

}  // namespace nibble
