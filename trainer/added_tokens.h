// What `tokens`, `special_tokens` and `trainable_token_indices` of a recipe come to: the tokenizer
// with the tokens, the vocabulary that holds them, the rows that train.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/blueprint.h"
#include "model/text/tokenizer.h"
#include "model/text/tokenizer_add.h"
#include "trainer/recipe.h"

namespace nibble {

struct AddedTokens {
  std::unique_ptr<Tokenizer> tokenizer;  // null: there is none
  std::string source;                    // the directory it comes from, without the change
  TokenizerChange change;
  int64_t vocab = 0;         // of the model: grown where an id needs it
  std::vector<int64_t> ids;  // those that are new, ascending
};

// directory: of the base, whose model has `vocab` tokens. Says once which tokens are there already.
AddedTokens add_tokens(const Recipe& recipe, const std::string& directory, int64_t vocab);

// Puts the rows that train into a fresh adapter's configuration: those that the recipe names, and
// those of new tokens, in the embedding and in a head of its own. b: of the grown model.
void choose_rows(const Recipe& recipe, const std::vector<int64_t>& new_ids, const Blueprint& b,
                 AdapterConfig& config);

}  // namespace nibble
