// Stochastic gradient descent as PyTorch has it, decay added to the gradient (Polyak 1964;
// nesterov: Sutskever et al., ICML 2013):
//   g += wd p,  m = mu m + (1-d) g (g itself in the first step),  p -= lr m, or lr (g + mu m)
// Takes momentum 0.9, dampening 0, nesterov false. momentum 0 keeps no state.
// bitsandbytes: momentum 0 is refused, dampening and nesterov are ignored.
#include "optim/rule.h"
#include "optim/rule_options.h"

namespace nibble {

Rule rule_sgd(const RuleOptions& options) {
  RuleNumbers take("sgd", options);
  Rule r;
  r.step.rule = UpdateRule::sgd;
  r.step.momentum = take.share("momentum", 0.9);
  r.step.dampening = take.share("dampening", 0);
  r.step.nesterov = take.flag("nesterov", false);
  check_nesterov(r.step);
  if (r.step.momentum != 0) r.states = {{"momentum_buffer", StateKind::mean}};
  take.finish();
  return r;
}

}  // namespace nibble
