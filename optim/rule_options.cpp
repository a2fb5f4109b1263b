// One list of the keys, beside their fields.
#include "optim/rule_options.h"

#include <algorithm>

namespace nibble {

void check_only(const RuleOptions& o, std::string_view rule, const std::vector<std::string>& used) {
  const std::pair<const char*, bool> all[] = {
      {"beta1", o.beta1.has_value()},
      {"beta2", o.beta2.has_value()},
      {"beta3", o.beta3.has_value()},
      {"eps", o.eps.has_value()},
      {"momentum", o.momentum.has_value()},
      {"dampening", o.dampening.has_value()},
      {"nesterov", o.nesterov.has_value()},
      {"centered", o.centered.has_value()},
      {"alpha", o.alpha.has_value()},
      {"t_alpha", o.t_alpha.has_value()},
      {"t_beta3", o.t_beta3.has_value()},
      {"lr_decay", o.lr_decay.has_value()},
      {"initial_accumulator_value", o.initial_accumulator_value.has_value()},
      {"max_unorm", o.max_unorm.has_value()},
      {"trust_coefficient", o.trust_coefficient.has_value()},
  };
  for (const auto& [key, given] : all) {
    if (!given || std::find(used.begin(), used.end(), key) != used.end()) continue;
    throw UserError(cat("optim_args.", key), cat(rule, " has no ", key),
                    cat("remove it; ", rule, " takes ", join(used, ", ")));
  }
}

}  // namespace nibble
