// Lion (Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023):
//   p -= lr wd p,  p -= lr sign(b1 m + (1-b1) g),  m = b2 m + (1-b2) g
// Takes beta1 0.9, beta2 0.99. Every element moves by lr: rates are a tenth of Adam's, decay ten
// times as strong.
// bitsandbytes: its 8-bit kernel rounds lr to the type of the gradient first.
#include "optim/rule.h"
#include "optim/rule_options.h"

namespace nibble {

Rule rule_lion(const RuleOptions& options) {
  RuleNumbers take("lion", options);
  Rule r;
  r.step.rule = UpdateRule::lion;
  r.step.beta1 = take.share("beta1", 0.9);
  r.step.beta2 = take.share("beta2", 0.99);
  r.states = {{"exp_avg", StateKind::mean}};
  take.finish();
  return r;
}

}  // namespace nibble
