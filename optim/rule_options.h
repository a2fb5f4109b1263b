// The numbers of a recipe's optim_args, checked against what a rule uses.
#pragma once

#include <string_view>
#include <vector>

#include "optim/optimizer.h"

namespace nibble {

// A key that is set and not in `used`: UserError "optim_args.<key>" that lists those that are.
void check_only(const RuleOptions& options, std::string_view rule,
                const std::vector<std::string>& used);

}  // namespace nibble
