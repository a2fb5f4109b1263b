// y = factor x (embedding, residual and attention multipliers):  dx = factor dy
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct Scale : Op {
  double factor;

  explicit Scale(double f) : factor(f) {}
  const char* name() const override { return "scale"; }

  Shape infer(std::span<const Shape> in) const override { return in[0]; }

  Tensor scaled(Ctx& ctx, const Tensor& x) const {
    Tensor y = copy_as(ctx, x, x.dtype());
    ctx.k.scale(ctx.stream, y.numel(), y.dtype(), factor, y.raw());
    return y;
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved*) const override {
    return scaled(ctx, in[0]);  // backward reads no input: nothing is saved
  }

  void backward(Ctx& ctx, const Saved&, const Tensor& dy, Grads& grads) const override {
    if (grads.want[0]) grads.d[0] = scaled(ctx, dy);
  }
};

}  // namespace

Var scale(Ctx& ctx, const Var& x, double factor) {
  return apply(ctx, std::make_shared<Scale>(factor), {x});
}

std::vector<Sample> samples_scale() {
  const auto make = [](double factor) {
    return [factor](Ctx&) { return std::make_shared<Scale>(factor); };
  };
  return {{"(4, 9)", make(0.22), {{4, 9}}, {false}, 0},
          {"one row", make(-12), {{1, 70}}, {false}, 0}};
}

}  // namespace nibble::ops
