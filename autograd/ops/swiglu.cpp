// y = silu(gate) * up, the gated MLP (Shazeer 2020), with s = sigmoid(gate):
//   dgate = dy * up * s * (1 + gate*(1 - s)),  dup = dy * gate * s
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct SwiGlu : Op {
  const char* name() const override { return "swiglu"; }

  Shape infer(std::span<const Shape> in) const override {
    check_eq(in[0], in[1], "swiglu: shapes of gate and up");
    return in[0];
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved* saved) const override {
    const Tensor &gate = in[0], &up = in[1];
    Tensor y = ctx.empty(gate.shape(), gate.dtype());
    ctx.k.swiglu_fwd(ctx.stream, y.rows(), y.cols(), y.dtype(), gate.raw(), gate.pitch(), up.raw(),
                     up.pitch(), y.raw(), y.pitch());
    if (saved) {
      saved->keep(gate);
      saved->keep(up);
    }
    return y;
  }

  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    const Tensor &gate = saved[0], &up = saved[1];
    const Tensor dgate = ctx.empty(gate.shape(), gate.dtype());
    const Tensor dup = ctx.empty(up.shape(), up.dtype());
    ctx.k.swiglu_bwd(ctx.stream, dy.rows(), dy.cols(), dy.dtype(), gate.raw(), gate.pitch(),
                     up.raw(), up.pitch(), dy.raw(), dy.pitch(), dgate.raw(), dgate.pitch(),
                     dup.raw(), dup.pitch());
    if (grads.want[0]) grads.d[0] = dgate;
    if (grads.want[1]) grads.d[1] = dup;
  }
};

}  // namespace

Var swiglu(Ctx& ctx, const Var& gate, const Var& up) {
  return apply(ctx, std::make_shared<SwiGlu>(), {gate, up});
}

std::vector<Sample> samples_swiglu() {
  const auto make = [](Ctx&) { return std::make_shared<SwiGlu>(); };
  return {{"(4, 9)", make, {{4, 9}, {4, 9}}, {false, false}, 2 * 4 * 9 * 4},
          {"one row", make, {{1, 70}, {1, 70}}, {false, false}, 2 * 70 * 4}};
}

}  // namespace nibble::ops
