// Root mean square normalisation (Zhang and Sennrich 2019); statistics in at least fp32. With
// groups (heads) each is normalised for itself, by weights that all share or by its own.
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct RmsNorm : Op {
  double eps, offset;
  int64_t groups;

  RmsNorm(double epsilon, double added, int64_t n) : eps(epsilon), offset(added), groups(n) {}
  const char* name() const override { return "rmsnorm"; }

  Shape infer(std::span<const Shape> in) const override {
    const int64_t cols = in[0][-1], weights = in[1].numel();
    check_eq(cols % groups, 0, "rmsnorm: columns beside whole groups");
    check(weights == cols / groups || weights == cols,
          cat("rmsnorm: weights of shape ", in[1], " for ", groups, " groups of ", cols / groups));
    return in[0];
  }
  int64_t ldw(const Tensor& w, int64_t width) const { return w.numel() == width ? 0 : width; }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved* saved) const override {
    const Tensor &x = in[0], &w = in[1];
    const int64_t width = x.cols() / groups;
    check(w.dtype() == accumulator_of(x.dtype()), "rmsnorm: the weight is of the accumulator type");
    check(w.contiguous(), "rmsnorm: a contiguous weight");
    Tensor y = ctx.empty(x.shape(), x.dtype());
    Tensor rstd;
    if (saved) rstd = ctx.empty({x.rows(), groups}, w.dtype());
    ctx.k.rmsnorm_fwd(ctx.stream, x.rows(), groups, width, x.dtype(), x.raw(), x.pitch(), w.raw(),
                      ldw(w, width), offset, eps, y.raw(), y.pitch(), rstd.raw());
    if (saved) {
      saved->keep(x);
      saved->refer(w);
      saved->keep(rstd);
    }
    return y;
  }

  // y = x*r*w', r = 1/rms, w' = w + offset:
  //   dx = r*(dy*w' - x*r^2*mean(dy*w'*x)),  dw = sum_rows(dy*x*r)
  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    const Tensor &x = saved[0], &w = saved[1], &r = saved[2];
    const int64_t width = x.cols() / groups;
    Tensor dx, dw;
    if (grads.want[0]) dx = grads.d[0] = ctx.empty(x.shape(), x.dtype());
    if (grads.want[1]) dw = grads.into(ctx, 1, w.shape());
    ctx.k.rmsnorm_bwd(ctx.stream, x.rows(), groups, width, x.dtype(), x.raw(), x.pitch(), w.raw(),
                      ldw(w, width), offset, r.raw(), dy.raw(), dy.pitch(), dx.raw(),
                      dx.defined() ? dx.pitch() : 0, dw.raw());
  }
};

}  // namespace

Var rmsnorm(Ctx& ctx, const Var& x, const Var& weight, double eps, double offset, int64_t groups) {
  check(groups > 0, "rmsnorm: groups");
  return apply(ctx, std::make_shared<RmsNorm>(eps, offset, groups), {x, weight});
}

std::vector<Sample> samples_rmsnorm() {
  const auto make = [](double eps, double offset = 0, int64_t groups = 1) {
    return [=](Ctx&) { return std::make_shared<RmsNorm>(eps, offset, groups); };
  };
  return {
      {"(6, 10)", make(1e-5), {{6, 10}, {10}}, {false, true}, 6 * 10 * 4 + 6 * 4},
      {"a large eps", make(0.5), {{3, 65}, {65}}, {false, true}, 3 * 65 * 4 + 3 * 4},
      {"w + 1", make(1e-6, 1), {{3, 20}, {20}}, {false, true}, 3 * 20 * 4 + 3 * 4},
      {"heads that share", make(1e-5, 0, 3), {{4, 21}, {7}}, {false, true}, 4 * 21 * 4 + 12 * 4},
      {"heads of their own",
       make(1e-5, 0, 3),
       {{4, 21}, {3, 7}},
       {false, true},
       4 * 21 * 4 + 12 * 4},
      {"heads and w + 1", make(1e-6, 1, 2), {{5, 72}, {36}}, {false, true}, 5 * 72 * 4 + 10 * 4}};
}

}  // namespace nibble::ops
