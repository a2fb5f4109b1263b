// The numbers of a recipe's optim_args, taken one by one by the rule that uses them: what is out of
// range, or taken by nobody, is the user's mistake.
#pragma once

#include <limits>
#include <string_view>
#include <vector>

#include "optim/optimizer.h"

namespace nibble {

class RuleNumbers {
 public:
  RuleNumbers(std::string_view rule, const RuleOptions& options);

  bool given(std::string_view key) const;
  double share(std::string_view key, double otherwise);     // in [0, 1)
  double positive(std::string_view key, double otherwise);  // finite and above 0
  double at_least_zero(std::string_view key, double otherwise);
  bool flag(std::string_view key, bool otherwise);
  // A key that is given and was not taken: UserError "optim_args.<key>" that lists those that are.
  void finish() const;

 private:
  double take(std::string_view key, double otherwise);
  [[noreturn]] void refuse(std::string_view key, double value, const char* range) const;

  std::string rule_;
  const RuleOptions& options_;
  std::vector<std::string> taken_;
};

}  // namespace nibble
