// y = act(x), the MLP without a gate:  dx = dy * act'(x)
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct Activate : Op {
  Activation act;

  explicit Activate(Activation a) : act(a) {}
  const char* name() const override { return "activation"; }

  Shape infer(std::span<const Shape> in) const override { return in[0]; }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved* saved) const override {
    const Tensor& x = in[0];
    Tensor y = ctx.empty(x.shape(), x.dtype());
    ctx.k.activation_fwd(ctx.stream, act, x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(),
                         y.raw(), y.pitch());
    if (saved) saved->keep(x);
    return y;
  }

  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    if (!grads.want[0]) return;
    const Tensor& x = saved[0];
    const Tensor dx = ctx.empty(x.shape(), x.dtype());
    ctx.k.activation_bwd(ctx.stream, act, x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(),
                         dy.raw(), dy.pitch(), dx.raw(), dx.pitch());
    grads.d[0] = dx;
  }
};

}  // namespace

Var activation(Ctx& ctx, const Var& x, Activation act) {
  return apply(ctx, std::make_shared<Activate>(act), {x});
}

std::vector<Sample> samples_activation() {
  const auto sample = [](const char* what, Activation act, Shape s) {
    return Sample{
        what, [act](Ctx&) { return std::make_shared<Activate>(act); }, {s}, {false}, s.numel() * 4};
  };
  return {sample("silu", Activation::silu, {4, 9}), sample("gelu", Activation::gelu, {4, 35}),
          sample("gelu_tanh", Activation::gelu_tanh, {4, 35}),
          sample("relu", Activation::relu, {3, 17}), sample("relu2", Activation::relu2, {3, 17})};
}

}  // namespace nibble::ops
