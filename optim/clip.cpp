// One reduction for the norm that is logged and the norm that clips; one row clamps.
#include "optim/clip.h"

#include <algorithm>
#include <cmath>

namespace nibble {

double global_norm(const Ctx& ctx, std::span<Parameter* const> parameters, double scale) {
  const Tensor one = ctx.empty({1}, DType::f64, Purpose::scratch);
  double sum = 0;
  for (const Parameter* p : parameters) {
    if (!p->grad.defined()) continue;
    check(p->grad.contiguous(), "global_norm: contiguous gradients");
    ctx.k.sum_squares(ctx.stream, p->grad.numel(), p->grad.dtype(), p->grad.raw(),
                      one.data<double>());
    ctx.stream.wait();
    sum += *one.data<double>();
  }
  return std::sqrt(sum) * scale;
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1;
}

void clip_values(const Ctx& ctx, std::span<Parameter* const> parameters, double limit) {
  for (const Parameter* p : parameters) {
    if (!p->grad.defined()) continue;
    check(p->grad.contiguous(), "clip_values: contiguous gradients");
    ctx.k.clamp(ctx.stream, p->grad.numel(), p->grad.dtype(), limit, p->grad.raw());
  }
}

PercentileClip::PercentileClip(int64_t percentile, Start start)
    : percentile_(percentile), start_(start) {
  check(percentile >= 1 && percentile < kRing, "percentile_clipping from 1 to 99");
}

double PercentileClip::factor(double norm) {
  ++state_.steps;
  state_.ring[static_cast<size_t>(state_.steps % kRing)] = norm * norm;
  std::vector<double> sorted = state_.ring;
  int64_t index = percentile_;
  if (start_ == Start::seen && state_.steps < kRing) {  // those seen are entries 1 to `steps`
    sorted.assign(state_.ring.begin() + 1, state_.ring.begin() + 1 + state_.steps);
    index = percentile_ * state_.steps / kRing;
  }
  std::nth_element(sorted.begin(), sorted.begin() + index, sorted.end());
  limit_ = std::sqrt(sorted[static_cast<size_t>(index)]);
  return norm > limit_ ? limit_ / norm : 1;
}

void PercentileClip::set_state(State state) {
  check_eq(static_cast<int64_t>(state.ring.size()), kRing, "squared norms of percentile clipping");
  check(state.steps >= 0, "steps of percentile clipping");
  state_ = std::move(state);
}

}  // namespace nibble
