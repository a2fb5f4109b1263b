// A tokenizer beside the model it is used with: its ids must all have a row in the embedding.
#pragma once

#include <memory>
#include <string>

#include "model/text/tokenizer.h"

namespace nibble {

// Tokenizer::load, and a UserError (exit 65) when an id lies outside a vocabulary of `vocab` rows.
std::unique_ptr<Tokenizer> load_fitting_tokenizer(const std::string& directory, int64_t vocab);

}  // namespace nibble
