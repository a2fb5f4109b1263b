// RMSprop (Tieleman and Hinton 2012) as PyTorch has it, decay added to the gradient:
//   g += wd p,  v = a v + (1-a) g^2,  u = g / (sqrt(v) + eps),  p -= lr u
//   momentum mu:  b = mu b + u,  p -= lr b
//   centered (Graves 2013):  u = g / (sqrt(v - e^2) + eps),  e = a e + (1-a) g
// Takes alpha 0.99, eps 1e-8, momentum 0, centered false. Centered keeps the variance v - e^2
// itself, which cannot cancel (the identity stands with the kernel).
// bitsandbytes: momentum is ignored, centered refused; its 8-bit GPU kernel lets decay into v and
// not into u.
#include "optim/rule.h"
#include "optim/rule_options.h"

namespace nibble {

Rule rule_rmsprop(const RuleOptions& options) {
  RuleNumbers take("rmsprop", options);
  Rule r;
  r.step.rule = UpdateRule::rmsprop;
  r.step.alpha = take.share("alpha", 0.99);
  r.step.eps = take.at_least_zero("eps", 1e-8);
  r.step.momentum = take.share("momentum", 0);
  r.step.centered = take.flag("centered", false);
  r.states = {{r.step.centered ? "variance" : "square_avg", StateKind::square}};
  if (r.step.centered) r.states.push_back({"grad_avg", StateKind::mean});
  if (r.step.momentum != 0) r.states.push_back({"momentum_buffer", StateKind::mean});
  take.finish();
  return r;
}

}  // namespace nibble
