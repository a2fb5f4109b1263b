// Adagrad (Duchi, Hazan and Singer, JMLR 2011) as PyTorch has it, decay added to the gradient:
//   g += wd p,  v += g^2,  p -= lr/(1 + (t-1) d) g / (sqrt(v) + eps)
// Takes eps 1e-10, lr_decay (d) 0, initial_accumulator_value (v before the first step) 0.
// bitsandbytes: lr_decay and initial_accumulator_value are refused; its 8-bit GPU kernel lets decay
// into v and not into the update.
#include "optim/rule.h"
#include "optim/rule_options.h"

namespace nibble {

Rule rule_adagrad(const RuleOptions& options) {
  RuleNumbers take("adagrad", options);
  Rule r;
  r.step.rule = UpdateRule::adagrad;
  r.step.eps = take.at_least_zero("eps", 1e-10);
  const double decay = take.at_least_zero("lr_decay", 0);
  if (decay > 0) {
    r.at_step = [decay](OptimizerStep& s) { s.lr /= 1 + static_cast<double>(s.step - 1) * decay; };
  }
  r.states = {{"sum", StateKind::square, take.at_least_zero("initial_accumulator_value", 0)}};
  take.finish();
  return r;
}

}  // namespace nibble
