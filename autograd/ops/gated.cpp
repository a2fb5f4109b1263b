// y = act(gate) * up, the gated MLP (Shazeer 2020):
//   dgate = dy * up * act'(gate),  dup = dy * act(gate)
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct Gated : Op {
  Activation act;

  explicit Gated(Activation a) : act(a) {}
  const char* name() const override { return "gated"; }

  Shape infer(std::span<const Shape> in) const override {
    check_eq(in[0], in[1], "gated: shapes of gate and up");
    return in[0];
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved* saved) const override {
    const Tensor &gate = in[0], &up = in[1];
    Tensor y = ctx.empty(gate.shape(), gate.dtype());
    ctx.k.gated_fwd(ctx.stream, act, y.rows(), y.cols(), y.dtype(), gate.raw(), gate.pitch(),
                    up.raw(), up.pitch(), y.raw(), y.pitch());
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
    ctx.k.gated_bwd(ctx.stream, act, dy.rows(), dy.cols(), dy.dtype(), gate.raw(), gate.pitch(),
                    up.raw(), up.pitch(), dy.raw(), dy.pitch(), dgate.raw(), dgate.pitch(),
                    dup.raw(), dup.pitch());
    if (grads.want[0]) grads.d[0] = dgate;
    if (grads.want[1]) grads.d[1] = dup;
  }
};

}  // namespace

Var gated(Ctx& ctx, const Var& gate, const Var& up, Activation act) {
  return apply(ctx, std::make_shared<Gated>(act), {gate, up});
}

std::vector<Sample> samples_gated() {
  const auto sample = [](const char* what, Activation act, Shape s) {
    return Sample{what,
                  [act](Ctx&) { return std::make_shared<Gated>(act); },
                  {s, s},
                  {false, false},
                  2 * s.numel() * 4};
  };
  return {sample("silu", Activation::silu, {4, 9}),
          sample("silu, one row", Activation::silu, {1, 70}),
          sample("gelu", Activation::gelu, {3, 37}),
          sample("gelu_tanh", Activation::gelu_tanh, {3, 37}),
          sample("relu", Activation::relu, {2, 21}),
          sample("relu2", Activation::relu2, {2, 21})};
}

}  // namespace nibble::ops
