// Keeping a step's gradients in bounds: by the global norm (Pascanu et al. 2013), by value, or by a
// percentile of the norms of the last hundred steps.
#pragma once

#include <span>
#include <vector>

#include "autograd/ctx.h"
#include "autograd/var.h"

namespace nibble {

// L2 norm of all gradients × scale, in fp64: fixed partials within a parameter, parameters joined
// in the order given. Not finite when a gradient is not.
double global_norm(const Ctx& ctx, std::span<Parameter* const> parameters, double scale = 1);

// min(1, max_norm / (norm + 1e-6)); 1 when max_norm is 0: no clipping.
double clip_factor(double norm, double max_norm);

// Every gradient element into [-limit, limit], in place.
void clip_values(const Ctx& ctx, std::span<Parameter* const> parameters, double limit);

// bitsandbytes' percentile clipping: a ring of the last 100 squared norms, this one among them; the
// limit is the root of the p-th smallest of them (from 0) and a larger norm is scaled down to it.
class PercentileClip {
 public:
  static constexpr int64_t kRing = 100;
  // Before 100 steps were seen there is no hundred to take a percentile of. bitsandbytes counts the
  // missing ones as 0, and its first 100 - p steps change nothing; `seen` takes the percentile of
  // the steps there were.
  enum class Start : uint8_t { seen, zeros };

  struct State {
    std::vector<double> ring = std::vector<double>(kRing);  // squared norms, of step s at s % 100
    int64_t steps = 0;                                      // seen so far
  };

  explicit PercentileClip(int64_t percentile, Start start = Start::seen);
  // The factor for a step with this norm, which enters the ring.
  double factor(double norm);
  double limit() const { return limit_; }  // of the last step
  const State& state() const { return state_; }
  void set_state(State state);

 private:
  int64_t percentile_;
  Start start_;
  State state_;
  double limit_ = 0;
};

}  // namespace nibble
