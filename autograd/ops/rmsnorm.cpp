// Root mean square normalisation (Zhang and Sennrich 2019); statistics in at least fp32.
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct RmsNorm : Op {
  double eps;

  explicit RmsNorm(double epsilon) : eps(epsilon) {}
  const char* name() const override { return "rmsnorm"; }

  Shape infer(std::span<const Shape> in) const override {
    check_eq(in[1], Shape{in[0][-1]}, "rmsnorm: shape of the weight");
    return in[0];
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved* saved) const override {
    const Tensor &x = in[0], &w = in[1];
    check(w.dtype() == accumulator_of(x.dtype()), "rmsnorm: the weight is of the accumulator type");
    Tensor y = ctx.empty(x.shape(), x.dtype());
    Tensor rstd;
    if (saved) rstd = ctx.empty({x.rows()}, w.dtype());
    ctx.k.rmsnorm_fwd(ctx.stream, x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), w.raw(), eps,
                      y.raw(), y.pitch(), rstd.raw());
    if (saved) {
      saved->keep(x);
      saved->refer(w);
      saved->keep(rstd);
    }
    return y;
  }

  // y = x*r*w, r = 1/rms:  dx = r*(dy*w - x*r^2*mean(dy*w*x)),  dw = sum_rows(dy*x*r)
  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    const Tensor &x = saved[0], &w = saved[1], &r = saved[2];
    Tensor dx, dw;
    if (grads.want[0]) dx = grads.d[0] = ctx.empty(x.shape(), x.dtype());
    if (grads.want[1]) dw = grads.into(ctx, 1, w.shape());
    ctx.k.rmsnorm_bwd(ctx.stream, x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), w.raw(),
                      r.raw(), dy.raw(), dy.pitch(), dx.raw(), dx.defined() ? dx.pitch() : 0,
                      dw.raw());
  }
};

}  // namespace

Var rmsnorm(Ctx& ctx, const Var& x, const Var& weight, double eps) {
  return apply(ctx, std::make_shared<RmsNorm>(eps), {x, weight});
}

std::vector<Sample> samples_rmsnorm() {
  const auto make = [](double eps) {
    return [eps](Ctx&) { return std::make_shared<RmsNorm>(eps); };
  };
  return {{"(6, 10)", make(1e-5), {{6, 10}, {10}}, {false, true}, 6 * 10 * 4 + 6 * 4},
          {"a large eps", make(0.5), {{3, 65}, {65}}, {false, true}, 3 * 65 * 4 + 3 * 4}};
}

}  // namespace nibble::ops
