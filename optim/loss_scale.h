// Dynamic loss scaling for f16 (Micikevicius et al. 2018), by the rule of torch's GradScaler: the
// loss is multiplied so that small gradients are not rounded to zero; a step whose gradients
// overflow is skipped and halves the scale, 2000 good steps in a row double it.
#pragma once

#include <cstdint>

namespace nibble {

class LossScale {
 public:
  static constexpr double kStart = 65536, kLeast = 1;
  // Of an f32: further doublings would overflow what the kernels multiply by.
  static constexpr double kMost = 0x1p126;
  static constexpr int64_t kGrowthSteps = 2000;

  struct State {
    double scale = kStart;
    int64_t good_steps = 0;  // since the scale changed last
  };

  LossScale() = default;
  explicit LossScale(State state);  // scale not a power of two in range: a failed check

  double value() const { return state_.scale; }
  bool at_least() const { return state_.scale <= kLeast; }  // an overflow is no longer its fault
  void good_step();
  void overflow();
  const State& state() const { return state_; }

 private:
  State state_;
};

}  // namespace nibble
