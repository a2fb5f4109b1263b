// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019). With t the
// step from 1 and g the scaled gradient:
//   p -= lr wd p,  m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,
//   p -= lr m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps)
// Takes beta1 0.9, beta2 0.999, eps 1e-8, max_unorm (none): where the norm of the quotient is above
// max_unorm |p|, it is scaled down to that.
// bitsandbytes: the same; its GPU kernels decay behind the update, with another rounding in p's
// type, and its 8-bit path ignores max_unorm.
#include "optim/rule.h"
#include "optim/rule_options.h"

namespace nibble {

Rule adam_with_decay(const char* name, const RuleOptions& options) {
  RuleNumbers take(name, options);
  Rule r;
  r.step.rule = UpdateRule::adam;
  r.step.beta1 = take.share("beta1", 0.9);
  r.step.beta2 = take.share("beta2", 0.999);
  r.step.eps = take.at_least_zero("eps", 1e-8);
  const double cap = take.at_least_zero("max_unorm", 0);
  if (cap > 0) r.scale = norm_cap(cap);
  r.states = {{"exp_avg", StateKind::mean}, {"exp_avg_sq", StateKind::square}};
  take.finish();
  return r;
}

Rule rule_adamw(const RuleOptions& options) { return adam_with_decay("adamw", options); }

}  // namespace nibble
