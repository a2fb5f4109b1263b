// Powers of two only: scaling and unscaling are exact.
#include "optim/loss_scale.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace nibble {

LossScale::LossScale(State state) : state_(state) {
  int exponent = 0;
  check(state.scale >= kLeast && state.scale <= kMost && std::frexp(state.scale, &exponent) == 0.5,
        cat("a loss scale is a power of two from 1, got ", state.scale));
  check(state.good_steps >= 0 && state.good_steps < kGrowthSteps, "good steps of a loss scale");
}

void LossScale::good_step() {
  if (++state_.good_steps < kGrowthSteps) return;
  state_ = {std::min(state_.scale * 2, kMost), 0};
}

void LossScale::overflow() { state_ = {std::max(state_.scale / 2, kLeast), 0}; }

}  // namespace nibble
