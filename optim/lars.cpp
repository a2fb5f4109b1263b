// LARS (You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017): momentum
// whose rate follows the size of each tensor.
//   c = eta |p| / (|g| + wd |p|),  m = mu m + (1-d) lr c (g + wd p),  p -= m   (c = 1 where |p| or
//   |g| is 0)
// Takes momentum 0.9, dampening (d) 0, nesterov false, trust_coefficient (eta) 1e-3, max_unorm
// (none). momentum 0 keeps no state.
// bitsandbytes has no trust ratio: its LARS is SGD whose momentum is capped at max_unorm |p|, its
// LARS8bit plain SGD8bit. Given max_unorm, this rule is the former, in 8 bits too.
#include "optim/rule.h"
#include "optim/rule_options.h"

namespace nibble {

Rule rule_lars(const RuleOptions& options) {
  RuleNumbers take("lars", options);
  Rule r;
  r.step.momentum = take.share("momentum", 0.9);
  r.step.dampening = take.share("dampening", 0);
  r.step.nesterov = take.flag("nesterov", false);
  check_nesterov(r.step);
  if (take.given("max_unorm") && take.given("trust_coefficient")) {
    throw UserError("optim_args.trust_coefficient",
                    "max_unorm caps the update instead of trusting a ratio",
                    "give max_unorm or trust_coefficient, not both");
  }
  if (take.given("max_unorm")) {
    r.step.rule = UpdateRule::sgd;
    r.scale = norm_cap(take.positive("max_unorm", 0.02));
  } else {
    r.step.rule = UpdateRule::lars;
    take.positive("max_unorm", 0.02);
    const double eta = take.positive("trust_coefficient", 1e-3);
    r.norms_read_states = false;
    r.scale = [eta](const Norms& norm, const OptimizerStep& s) {
      if (!(norm.value > 0 && norm.update > 0)) return 1.0;
      return eta * norm.value / (norm.update + s.weight_decay * norm.value);
    };
  }
  if (r.step.momentum != 0) r.states = {{"momentum_buffer", StateKind::mean}};
  take.finish();
  return r;
}

}  // namespace nibble
