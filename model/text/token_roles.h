// The ids of bos, eos and pad that config.json and generation_config.json repeat.
#pragma once

#include "base/json.h"
#include "model/text/tokenizer.h"

namespace nibble {

// Sets bos_token_id, eos_token_id and pad_token_id of a config where `after` has another token in
// the part than `before`; keys that the config does not have are added only when `add`.
void follow_roles(const Tokenizer& before, const Tokenizer& after, bool add, Json& config);

}  // namespace nibble
