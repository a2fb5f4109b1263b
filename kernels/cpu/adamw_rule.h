// One element's AdamW step in fp32, its factors computed in fp64 once a step (Loshchilov and Hutter
// 2019): p decays first, then moves by lr / (1 - β1^t) × m / (sqrt(v) / sqrt(1 - β2^t) + eps).
#pragma once

#include <cmath>

#include "kernels/table.h"

namespace nibble::cpu {

struct AdamWFactors {
  float grad_scale, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, root_bias,
      eps;

  explicit AdamWFactors(const AdamWStep& s)
      : grad_scale(static_cast<float>(s.grad_scale)),
        decay(static_cast<float>(1 - s.lr * s.weight_decay)),
        beta1(static_cast<float>(s.beta1)),
        one_minus_beta1(static_cast<float>(1 - s.beta1)),
        beta2(static_cast<float>(s.beta2)),
        one_minus_beta2(static_cast<float>(1 - s.beta2)),
        step_size(static_cast<float>(s.lr / (1 - std::pow(s.beta1, static_cast<double>(s.step))))),
        root_bias(
            static_cast<float>(std::sqrt(1 - std::pow(s.beta2, static_cast<double>(s.step))))),
        eps(static_cast<float>(s.eps)) {}

  float first(float m, float g) const { return beta1 * m + one_minus_beta1 * g; }
  float second(float v, float g) const { return beta2 * v + one_minus_beta2 * g * g; }
  // m = 0 moves nothing, not a bit, whatever v and eps are: the divisor is never 0, and -0 becomes
  // +0 before it is subtracted. Written without a branch, so that it runs several at a time.
  float moved(float p, float m, float root_v) const {
    const float divisor = root_v / root_bias + eps;
    const float safe = divisor < 0x1p-126f ? 0x1p-126f : divisor;
    return p * decay - step_size * (m / safe + 0.0f);
  }
};

}  // namespace nibble::cpu
