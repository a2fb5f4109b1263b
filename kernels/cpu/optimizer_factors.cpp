// Adam's bias corrections are moved out of its inner loop:
//   lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + eps) = lr sqrt(1-b2^t)/(1-b1^t) × m / (sqrt(v) + eps
//   sqrt(1-b2^t))
#include "kernels/cpu/optimizer_factors.h"

#include <cmath>

namespace nibble::cpu {
namespace {

float rounded(double x) { return static_cast<float>(x); }

// Of the rules that divide by the root of a mean of squares without bias.
void correct_bias(const OptimizerStep& s, StepFactors& f) {
  const auto t = static_cast<double>(s.step);
  const double bias1 = 1 - std::pow(s.beta1, t);
  const double root_bias2 = std::sqrt(1 - std::pow(s.beta2, t));
  f.eps = rounded(s.eps * root_bias2);
  if (s.rule == UpdateRule::lamb) {
    f.inner = rounded(root_bias2 / bias1);
    f.rate = rounded(s.lr * s.scale);
  } else if (s.rule == UpdateRule::ademamix) {
    f.inner = rounded(1 / bias1);
    f.rate = rounded(s.lr * s.scale * root_bias2);
  } else {
    f.inner = rounded(root_bias2 / bias1);
    f.rate = rounded(s.lr * s.scale * root_bias2 / bias1);
  }
}

}  // namespace

StepFactors step_factors(const OptimizerStep& s) {
  StepFactors f{};
  f.rule = s.rule;
  f.momentum = s.momentum != 0;
  f.nesterov = s.nesterov;
  f.centered = s.centered;
  f.first = s.step == 1;
  f.late_decay = s.bnb_codec;
  f.grad_scale = rounded(s.grad_scale);
  f.decay = rounded(1 - s.lr * s.weight_decay);
  f.weight_decay = rounded(s.weight_decay);
  f.beta1 = rounded(s.beta1), f.rest1 = rounded(1 - s.beta1);
  f.beta2 = rounded(s.beta2), f.rest2 = rounded(1 - s.beta2);
  f.beta3 = rounded(s.beta3), f.rest3 = rounded(1 - s.beta3);
  f.rate = rounded(s.lr * s.scale);
  f.eps = rounded(s.eps);
  f.alpha = rounded(s.alpha);
  if (s.bnb_codec) {  // there 1 - beta is taken in fp32, which decides ties of codes
    f.rest1 = 1 - f.beta1, f.rest2 = 1 - f.beta2, f.rest3 = 1 - f.beta3;
  }
  switch (s.rule) {
    case UpdateRule::adam:
    case UpdateRule::ademamix:
    case UpdateRule::lamb:
      correct_bias(s, f);
      break;
    case UpdateRule::sgd:
    case UpdateRule::lars:
      f.beta1 = rounded(s.momentum), f.rest1 = rounded(1 - s.dampening);
      break;
    case UpdateRule::rmsprop:
      f.beta1 = rounded(s.momentum);
      f.beta2 = rounded(s.alpha), f.rest2 = rounded((1 - s.alpha) * (s.centered ? s.alpha : 1));
      f.beta3 = rounded(s.alpha), f.rest3 = rounded(1 - s.alpha);
      break;
    case UpdateRule::adagrad:
      f.beta2 = 1, f.rest2 = 1;
      break;
    case UpdateRule::lion:
      break;
  }
  return f;
}

}  // namespace nibble::cpu
