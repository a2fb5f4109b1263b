// The names people type for an optimizer: transformers', axolotl's, torchtune's and bitsandbytes'
// spellings, all from the rows of optimizer_names.def.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct OptimizerName {
  std::string rule;  // row of optim/optimizers.def
  int bits = 32;     // of the states
  bool paged = false;

  std::string str() const;  // the regular spelling: "adamw", "adamw_8bit", "paged_adamw_8bit"
};

// "adamw_bnb_8bit", "PagedAdamW8bit", "bitsandbytes.optim.Lion8bit", "torch.optim.AdamW", …
std::optional<OptimizerName> optimizer_named(std::string_view typed);
// Why a name that people know is not taken; none: it is taken, or nobody knows it.
std::optional<std::string> optimizer_refused(std::string_view typed);
std::vector<std::string> optimizer_spellings();  // every one, without module paths

// A rule in one width of state, paged or not: a line of the table in the docs.
struct OptimizerRow {
  OptimizerName name;
  std::string summary;                 // of the rule
  std::vector<std::string> spellings;  // the regular one first
};
std::vector<OptimizerRow> optimizer_rows();

}  // namespace nibble
