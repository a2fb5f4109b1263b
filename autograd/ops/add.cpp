// y = a + b: the residual connection. dy goes to both unchanged, as handles.
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct Add : Op {
  const char* name() const override { return "add"; }

  Shape infer(std::span<const Shape> in) const override {
    check_eq(in[0], in[1], "add: shapes");
    return in[0];
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved*) const override {
    const Tensor &a = in[0], &b = in[1];
    const Tensor y = exclusive(a) ? a : exclusive(b) ? b : ctx.empty(a.shape(), a.dtype());
    ctx.k.add(ctx.stream, y.rows(), y.cols(), y.dtype(), a.raw(), a.pitch(), b.raw(), b.pitch(),
              y.raw(), y.pitch());
    return y;
  }

  void backward(Ctx&, const Saved&, const Tensor& dy, Grads& grads) const override {
    for (size_t i = 0; i < 2; ++i) {
      if (grads.want[i]) grads.d[i] = dy;
    }
  }
};

}  // namespace

Var add(Ctx& ctx, Var a, Var b) {
  std::vector<Var> inputs;
  inputs.push_back(std::move(a));
  inputs.push_back(std::move(b));
  return apply(ctx, std::make_shared<Add>(), std::move(inputs));
}

std::vector<Sample> samples_add() {
  const auto make = [](Ctx&) { return std::make_shared<Add>(); };
  return {{"(5, 7)", make, {{5, 7}, {5, 7}}, {false, false}, 0},
          {"one row", make, {{1, 33}, {1, 33}}, {false, false}, 0}};
}

}  // namespace nibble::ops
