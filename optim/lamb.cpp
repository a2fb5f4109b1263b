// LAMB (You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR
// 2020): Adam's quotient with decay, scaled to the size of the tensor.
//   u = m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps) + wd p,  p -= lr |p|/|u| u     (1 where |p| or |u| is
//   0)
// Takes beta1 0.9, beta2 0.999, eps 1e-6, max_unorm (none).
// bitsandbytes has no trust ratio: its LAMB is AdamW whose update is capped at max_unorm |p|, its
// LAMB8bit plain Adam8bit. Given max_unorm, this rule is the former, in 8 bits too.
#include "optim/rule.h"
#include "optim/rule_options.h"

namespace nibble {

Rule rule_lamb(const RuleOptions& options) {
  RuleNumbers take("lamb", options);
  Rule r;
  r.step.beta1 = take.share("beta1", 0.9);
  r.step.beta2 = take.share("beta2", 0.999);
  r.step.eps = take.at_least_zero("eps", 1e-6);
  if (take.given("max_unorm")) {
    r.step.rule = UpdateRule::adam;
    r.scale = norm_cap(take.positive("max_unorm", 1));
  } else {
    r.step.rule = UpdateRule::lamb;
    take.positive("max_unorm", 1);
    r.scale = [](const Norms& norm, const OptimizerStep&) {
      return norm.value > 0 && norm.update > 0 ? norm.value / norm.update : 1;
    };
  }
  r.states = {{"exp_avg", StateKind::mean}, {"exp_avg_sq", StateKind::square}};
  take.finish();
  return r;
}

}  // namespace nibble
