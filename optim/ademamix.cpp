// AdEMAMix (Pagliardini, Ablin and Grangier, 2024): Adam with a second, slow mean.
//   m1 = b1 m1 + (1-b1) g,  m2 = b3 m2 + (1-b3) g,  v = b2 v + (1-b2) g^2,  p -= lr wd p,
//   p -= lr (m1/(1-b1^t) + a m2) / (sqrt(v/(1-b2^t)) + eps)
// Takes beta1 0.9, beta2 0.999, beta3 0.9999, alpha (a) 5, eps 1e-8, t_alpha and t_beta3 (steps;
// none): a grows linearly from 0 until t_alpha, b3 from b1 so that the logarithm of its half-life
// does until t_beta3.
// bitsandbytes: its 32-bit class allocates half of the state and fails; its 8-bit kernel reads the
// scale of another block for m2 when the size is no multiple of 256.
#include <algorithm>
#include <cmath>

#include "optim/rule.h"
#include "optim/rule_options.h"

namespace nibble {
namespace {

double scheduled_beta3(double beta1, double beta3, double done) {
  if (beta1 <= 0) return beta3;  // a mean without memory has no half-life to start from
  const double from = std::log(beta1), to = std::log(beta3);
  return std::min(std::exp(from * to / ((1 - done) * to + done * from)), beta3);
}

}  // namespace

Rule rule_ademamix(const RuleOptions& options) {
  RuleNumbers take("ademamix", options);
  Rule r;
  r.step.rule = UpdateRule::ademamix;
  r.step.beta1 = take.share("beta1", 0.9);
  r.step.beta2 = take.share("beta2", 0.999);
  r.step.beta3 = take.share("beta3", 0.9999);
  r.step.alpha = take.at_least_zero("alpha", 5);
  r.step.eps = take.at_least_zero("eps", 1e-8);
  const double t_alpha = take.at_least_zero("t_alpha", 0);
  const double t_beta3 = take.at_least_zero("t_beta3", 0);
  r.at_step = [t_alpha, t_beta3](OptimizerStep& s) {
    const auto t = static_cast<double>(s.step);
    if (t_alpha > 0) s.alpha = std::min(t * s.alpha / t_alpha, s.alpha);
    if (t_beta3 > 0 && t < t_beta3) s.beta3 = scheduled_beta3(s.beta1, s.beta3, t / t_beta3);
  };
  r.states = {{"exp_avg_fast", StateKind::mean},
              {"exp_avg_slow", StateKind::mean},
              {"exp_avg_sq", StateKind::square}};
  take.finish();
  return r;
}

}  // namespace nibble
