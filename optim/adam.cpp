// Adam (Kingma and Ba, ICLR 2015): m and v as in adamw.cpp. Weight decay, where one is set, is
// decoupled as there, not added to the gradient: so it is in bitsandbytes, and PyTorch's coupled
// form is what AdamW was written against. The two names differ in what recipes decay by default.
// bitsandbytes: `amsgrad` is ignored or refused, depending on the class; here it does not exist.
#include "optim/rule.h"
#include "optim/rule_options.h"

namespace nibble {

Rule rule_adam(const RuleOptions& options) {
  RuleNumbers take("adam", options);
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

}  // namespace nibble
