// Low-rank adapters (Hu et al. 2021): y = base + s u Bᵀ with u = x Aᵀ, r wide.
//   dbase = dy,  du = s dy B,  dx = du A,  dA = duᵀ x,  dB = s dyᵀ u
#include "autograd/ops.h"
#include "autograd/product.h"

namespace nibble::ops {
namespace {

Tensor down(const Ctx& ctx, const Tensor& x, const Tensor& a) {
  Tensor u = ctx.empty({x.rows(), a.dim(0)}, x.dtype());
  product(ctx, x, dense_view(a), u);
  return u;
}

struct Lora : Op {
  double scale;

  explicit Lora(double s) : scale(s) {}
  const char* name() const override { return "lora"; }

  Shape infer(std::span<const Shape> in) const override {
    const Shape &base = in[0], &x = in[1], &a = in[2], &b = in[3];
    check_eq(x[0], base[0], "lora: rows");
    check_eq(a, Shape({a[0], x[-1]}), "lora: shape of A");
    check_eq(b, Shape({base[-1], a[0]}), "lora: shape of B");
    return base;
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>& want, Saved* saved) const override {
    const Tensor &x = in[1], &a = in[2], &b = in[3];
    const Tensor u = down(ctx, x, a);
    const Tensor y = output_over(ctx, in[0]);
    product(ctx, u, dense_view(b), y, scale, true);
    if (saved) {
      want[2] ? saved->keep(x) : saved->skip();
      saved->refer(a);
      saved->refer(b);
      want[3] ? saved->keep(u) : saved->skip();
    }
    return y;
  }

  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    const Tensor &x = saved[0], &a = saved[1], &b = saved[2], &u = saved[3];
    if (grads.want[0]) grads.d[0] = dy;
    if (grads.want[3]) product_dw(ctx, dy, u, grads.into(ctx, 3, b.shape()), scale);
    if (!grads.want[1] && !grads.want[2]) return;
    const Tensor du = ctx.empty({dy.rows(), a.dim(0)}, dy.dtype());
    product_dx(ctx, dy, dense_view(b), du, scale);
    if (grads.want[2]) product_dw(ctx, du, x, grads.into(ctx, 2, a.shape()));
    if (grads.want[1]) {
      grads.d[1] = ctx.empty({dy.rows(), a.dim(1)}, dy.dtype());
      product_dx(ctx, du, dense_view(a), grads.d[1]);
    }
  }
};

}  // namespace

Var lora(Ctx& ctx, Var base, const Var& x, const Var& a, const Var& b, double scale) {
  std::vector<Var> inputs;
  inputs.push_back(std::move(base));
  for (const Var* v : {&x, &a, &b}) inputs.push_back(*v);
  return apply(ctx, std::make_shared<Lora>(scale), std::move(inputs));
}

void lora_in_place(const Ctx& ctx, const Tensor& y, const Tensor& x, const Tensor& a,
                   const Tensor& b, double scale) {
  product(ctx, down(ctx, x, a), dense_view(b), y, scale, true);
}

std::vector<Sample> samples_lora() {
  const auto make = [](double scale) {
    return [scale](Ctx&) { return std::make_shared<Lora>(scale); };
  };
  return {{"rank 2",
           make(1.5),
           {{5, 6}, {5, 7}, {2, 7}, {6, 2}},
           {false, false, true, true},
           5 * 7 * 4 + 5 * 2 * 4},
          {"rank 16",
           make(0.25),
           {{2, 40}, {2, 33}, {16, 33}, {40, 16}},
           {false, false, true, true},
           2 * 33 * 4 + 2 * 16 * 4}};
}

}  // namespace nibble::ops
