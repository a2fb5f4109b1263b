// One list of the keys, beside their fields.
#include "optim/rule_options.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

struct Key {
  const char* name;
  std::optional<double> RuleOptions::*number;
  std::optional<bool> RuleOptions::*flag;
};
const Key kKeys[] = {
    {"beta1", &RuleOptions::beta1, nullptr},
    {"beta2", &RuleOptions::beta2, nullptr},
    {"beta3", &RuleOptions::beta3, nullptr},
    {"eps", &RuleOptions::eps, nullptr},
    {"momentum", &RuleOptions::momentum, nullptr},
    {"dampening", &RuleOptions::dampening, nullptr},
    {"nesterov", nullptr, &RuleOptions::nesterov},
    {"centered", nullptr, &RuleOptions::centered},
    {"alpha", &RuleOptions::alpha, nullptr},
    {"t_alpha", &RuleOptions::t_alpha, nullptr},
    {"t_beta3", &RuleOptions::t_beta3, nullptr},
    {"lr_decay", &RuleOptions::lr_decay, nullptr},
    {"initial_accumulator_value", &RuleOptions::initial_accumulator_value, nullptr},
    {"max_unorm", &RuleOptions::max_unorm, nullptr},
    {"trust_coefficient", &RuleOptions::trust_coefficient, nullptr},
};

const Key& key_named(std::string_view name) {
  for (const Key& key : kKeys) {
    if (name == key.name) return key;
  }
  fail_check(cat("no optimizer number ", name), __FILE__, __LINE__);
}

bool is_given(const RuleOptions& options, const Key& key) {
  return key.number != nullptr ? (options.*key.number).has_value()
                               : (options.*key.flag).has_value();
}

}  // namespace

RuleNumbers::RuleNumbers(std::string_view rule, const RuleOptions& options)
    : rule_(rule), options_(options) {}

bool RuleNumbers::given(std::string_view key) const { return is_given(options_, key_named(key)); }

double RuleNumbers::take(std::string_view key, double otherwise) {
  taken_.emplace_back(key);
  return (options_.*key_named(key).number).value_or(otherwise);
}

void RuleNumbers::refuse(std::string_view key, double value, const char* range) const {
  throw UserError(cat("optim_args.", key), cat(key, " of ", rule_, " is ", value),
                  cat("give a number ", range));
}

double RuleNumbers::share(std::string_view key, double otherwise) {
  const double value = take(key, otherwise);
  if (!(value >= 0 && value < 1)) refuse(key, value, "of at least 0 and below 1");
  return value;
}

double RuleNumbers::positive(std::string_view key, double otherwise) {
  const double value = take(key, otherwise);
  if (!(value > 0 && std::isfinite(value))) refuse(key, value, "above 0");
  return value;
}

double RuleNumbers::at_least_zero(std::string_view key, double otherwise) {
  const double value = take(key, otherwise);
  if (!(value >= 0 && std::isfinite(value))) refuse(key, value, "of at least 0");
  return value;
}

bool RuleNumbers::flag(std::string_view key, bool otherwise) {
  taken_.emplace_back(key);
  return (options_.*key_named(key).flag).value_or(otherwise);
}

void RuleNumbers::finish() const {
  for (const Key& key : kKeys) {
    if (!is_given(options_, key)) continue;
    if (std::find(taken_.begin(), taken_.end(), key.name) != taken_.end()) continue;
    throw UserError(cat("optim_args.", key.name), cat(rule_, " has no ", key.name),
                    cat("remove it; ", rule_, " takes ", join(taken_, ", ")));
  }
}

}  // namespace nibble
