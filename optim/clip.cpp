// One reduction for the norm that is logged and the norm that clips.
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

}  // namespace nibble
