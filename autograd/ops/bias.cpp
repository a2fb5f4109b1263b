// y = x + b, b on every row:  dx = dy,  db = sum_rows(dy) in row order.
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct Bias : Op {
  const char* name() const override { return "bias"; }

  Shape infer(std::span<const Shape> in) const override {
    check_eq(in[1], Shape{in[0][-1]}, "bias: shape");
    return in[0];
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved*) const override {
    const Tensor y = output_over(ctx, in[0]);
    ctx.k.bias_add(ctx.stream, y.rows(), y.cols(), y.dtype(), in[1].dtype(), in[1].raw(), y.raw(),
                   y.pitch());
    return y;
  }

  void backward(Ctx& ctx, const Saved&, const Tensor& dy, Grads& grads) const override {
    if (grads.want[0]) grads.d[0] = dy;
    if (!grads.want[1]) return;
    const Tensor& db = grads.into(ctx, 1, {dy.cols()});
    ctx.k.bias_bwd(ctx.stream, dy.rows(), dy.cols(), dy.dtype(), dy.raw(), dy.pitch(), db.raw());
  }
};

}  // namespace

Var bias(Ctx& ctx, Var x, const Var& b) {
  std::vector<Var> inputs;
  inputs.push_back(std::move(x));
  inputs.push_back(b);
  return apply(ctx, std::make_shared<Bias>(), std::move(inputs));
}

std::vector<Sample> samples_bias() {
  const auto make = [](Ctx&) { return std::make_shared<Bias>(); };
  return {{"(9, 5)", make, {{9, 5}, {5}}, {false, true}, 0},
          {"one row", make, {{1, 40}, {40}}, {false, true}, 0}};
}

}  // namespace nibble::ops
