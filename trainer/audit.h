// What a recipe's first rows become: every token with its label, as a person checks masking before
// time is spent.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace nibble {

// Rows in the order of the files: {"rows": [{"where": …, "tokens": [{"id", "text", "label"}…]}…]}.
// Reads the base's config and tokenizer, none of its weights.
Json audit_rows(const std::string& recipe_path,
                const std::vector<std::pair<std::string, std::string>>& overrides, int64_t rows);

}  // namespace nibble
