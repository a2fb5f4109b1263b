// Tokens that training adds to a tokenizer: ids in memory, and the files that keep them, such that
// the Hugging Face library reads the same ids from the folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/text/tokenizer.h"

namespace nibble {

struct NewToken {
  std::string content;
  bool special = false;  // skipped when text is decoded; stands for no text of a user
  bool lstrip = false, rstrip = false, single_word = false;
  std::optional<bool> normalized;  // looked for in normalized text; not given: unless special
};

struct TokenizerChange {
  std::vector<NewToken> tokens;
  // "bos_token", "eos_token", "pad_token", "unk_token", "cls_token", "sep_token" or "mask_token"
  // and the token that takes the part; one that does not exist is added as a special token.
  std::vector<std::pair<std::string, std::string>> roles;
  bool empty() const { return tokens.empty() && roles.empty(); }
};

// Changes `tokenizer`, which nothing else may be using, and returns how many ids are new. They
// continue after the largest id; a token that exists keeps its id and takes the given properties.
// Throws UserError (exit 2) for an empty token or an unknown role.
int32_t change_tokenizer(Tokenizer& tokenizer, const TokenizerChange& change);

// Writes the tokenizer files of `source` (a directory) to the existing directory `folder`, changed:
// tokenizer.json, tokenizer_config.json and special_tokens_map.json hold the tokens, all else is
// copied byte for byte. `folder` may be `source`.
void write_changed_tokenizer(const std::string& source, const TokenizerChange& change,
                             const std::string& folder);

}  // namespace nibble
