// Layer normalisation (Ba et al. 2016); statistics in at least fp32. With groups (heads) each is
// normalised for itself, by weights that all share or by its own.
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct LayerNorm : Op {
  double eps;
  int64_t groups;

  LayerNorm(double epsilon, int64_t n) : eps(epsilon), groups(n) {}
  const char* name() const override { return "layernorm"; }

  Shape infer(std::span<const Shape> in) const override {
    const int64_t cols = in[0][-1], weights = in[1].numel();
    check_eq(cols % groups, 0, "layernorm: columns beside whole groups");
    check(
        weights == cols / groups || weights == cols,
        cat("layernorm: weights of shape ", in[1], " for ", groups, " groups of ", cols / groups));
    if (in.size() > 2) check_eq(in[2].numel(), weights, "layernorm: biases");
    return in[0];
  }
  int64_t ldw(const Tensor& w, int64_t width) const { return w.numel() == width ? 0 : width; }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>& want, Saved* saved) const override {
    const Tensor &x = in[0], &w = in[1], b = in.size() > 2 ? in[2] : Tensor();
    const int64_t width = x.cols() / groups;
    for (const Tensor& t : in.subspan(1)) {
      check(t.dtype() == accumulator_of(x.dtype()), "layernorm: weights of the accumulator type");
      check(t.contiguous(), "layernorm: contiguous weights");
    }
    Tensor y = ctx.empty(x.shape(), x.dtype());
    Tensor mean, rstd;
    const bool statistics = saved && (want[0] || want[1]);  // a bias alone reads dy alone
    if (statistics) mean = ctx.empty({x.rows(), groups}, w.dtype());
    if (statistics) rstd = ctx.empty({x.rows(), groups}, w.dtype());
    ctx.k.layernorm_fwd(ctx.stream, x.rows(), groups, width, x.dtype(), x.raw(), x.pitch(), w.raw(),
                        b.raw(), ldw(w, width), eps, y.raw(), y.pitch(), mean.raw(), rstd.raw());
    if (saved) {
      saved->refer(w);
      if (statistics) {
        saved->keep(x);
        saved->keep(mean);
        saved->keep(rstd);
      }
    }
    return y;
  }

  // n = (x - mean)*r, r = 1/std, g = dy*w:
  //   dx = r*(g - mean(g) - n*mean(g*n)),  dw = sum_rows(dy*n),  db = sum_rows(dy)
  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    const Tensor& w = saved[0];
    const bool statistics = grads.want[0] || grads.want[1];
    const Tensor x = statistics ? saved[1] : Tensor(), mean = statistics ? saved[2] : Tensor(),
                 rstd = statistics ? saved[3] : Tensor();
    const int64_t width = dy.cols() / groups;
    Tensor dx, dw, db;
    if (grads.want[0]) dx = grads.d[0] = ctx.empty(dy.shape(), dy.dtype());
    if (grads.want[1]) dw = grads.into(ctx, 1, w.shape());
    if (grads.want.size() > 2 && grads.want[2]) db = grads.into(ctx, 2, w.shape());
    ctx.k.layernorm_bwd(ctx.stream, dy.rows(), groups, width, dy.dtype(), x.raw(), x.pitch(),
                        w.raw(), ldw(w, width), mean.raw(), rstd.raw(), dy.raw(), dy.pitch(),
                        dx.raw(), dx.defined() ? dx.pitch() : 0, dw.raw(), db.raw());
  }
};

}  // namespace

Var layernorm(Ctx& ctx, const Var& x, const Var& weight, const Var& bias, double eps,
              int64_t groups) {
  check(groups > 0, "layernorm: groups");
  std::vector<Var> inputs = {x, weight};
  if (bias.defined()) inputs.push_back(bias);
  return apply(ctx, std::make_shared<LayerNorm>(eps, groups), std::move(inputs));
}

std::vector<Sample> samples_layernorm() {
  const auto make = [](double eps, int64_t groups = 1) {
    return [=](Ctx&) { return std::make_shared<LayerNorm>(eps, groups); };
  };
  const auto bytes = [](int64_t rows, int64_t cols, int64_t groups = 1) {
    return rows * cols * 4 + 2 * rows * groups * 4;
  };
  return {{"(6, 10)", make(1e-5), {{6, 10}, {10}, {10}}, {false, true, true}, bytes(6, 10)},
          {"without a bias", make(1e-5), {{3, 65}, {65}}, {false, true}, bytes(3, 65)},
          {"heads that share",
           make(1e-5, 3),
           {{4, 21}, {7}, {7}},
           {false, true, true},
           bytes(4, 21, 3)},
          {"heads of their own",
           make(1e-5, 2),
           {{5, 72}, {2, 36}, {2, 36}},
           {false, true, true},
           bytes(5, 72, 2)},
          {"heads of their own without a bias",
           make(1e-3, 3),
           {{4, 21}, {21}},
           {false, true},
           bytes(4, 21, 3)}};
}

}  // namespace nibble::ops
