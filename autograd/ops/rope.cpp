// Rotary positions (Su et al. 2021): pairs of every head are turned by the angle of their row, and
// scaled where cos and sin carry a factor. dx is dy times the transpose: nothing of x is saved.
#include <cmath>

#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct Rope : Op {
  int64_t heads, head_dim;
  Tensor cos, sin;  // acc (tokens, rotary / 2), shared by all layers of a batch
  bool interleaved;

  Rope(int64_t n, int64_t d, Tensor c, Tensor s, bool neighbours)
      : heads(n), head_dim(d), cos(std::move(c)), sin(std::move(s)), interleaved(neighbours) {}
  const char* name() const override { return "rope"; }

  Shape infer(std::span<const Shape> in) const override {
    check_eq(in[0], Shape({cos.dim(0), heads * head_dim}), "rope: shape");
    check(2 * cos.dim(1) <= head_dim, "rope: the rotary part fits a head");
    check_eq(sin.shape(), cos.shape(), "rope: shape of sin");
    return in[0];
  }

  Tensor turn(Ctx& ctx, const Tensor& x, bool inverse) const {
    Tensor y = ctx.empty(x.shape(), x.dtype());
    ctx.k.rope(ctx.stream, x.rows(), heads, head_dim, 2 * cos.dim(1), interleaved, x.dtype(),
               x.raw(), x.pitch(), cos.raw(), sin.raw(), inverse, y.raw(), y.pitch());
    return y;
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved*) const override {
    return turn(ctx, in[0], false);
  }

  void backward(Ctx& ctx, const Saved&, const Tensor& dy, Grads& grads) const override {
    if (grads.want[0]) grads.d[0] = turn(ctx, dy, true);
  }
};

}  // namespace

Var rope(Ctx& ctx, const Var& x, int64_t heads, int64_t head_dim, const Tensor& cos,
         const Tensor& sin, bool interleaved) {
  return apply(ctx, std::make_shared<Rope>(heads, head_dim, cos, sin, interleaved), {x});
}

std::vector<Sample> samples_rope() {
  const auto make = [](int64_t tokens, int64_t heads, int64_t head_dim, int64_t rotary,
                       bool interleaved = false, double factor = 1) {
    return [=](Ctx& ctx) {
      Tensor angles[2];
      for (int part = 0; part < 2; ++part) {
        Tensor exact = ctx.empty({tokens, rotary / 2}, DType::f64);
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t i = 0; i < rotary / 2; ++i) {
            const double angle =
                static_cast<double>(t + 3) *
                std::pow(100.0, -2.0 * static_cast<double>(i) / static_cast<double>(rotary));
            exact.data<double>()[t * (rotary / 2) + i] =
                factor * (part == 0 ? std::cos(angle) : std::sin(angle));
          }
        }
        angles[part] = copy_as(ctx, exact, ctx.acc());
      }
      return std::make_shared<Rope>(heads, head_dim, angles[0], angles[1], interleaved);
    };
  };
  return {{"whole heads", make(5, 3, 8, 8), {{5, 24}}, {false}, 0},
          {"half of each head", make(4, 2, 8, 4), {{4, 16}}, {false}, 0},
          {"neighbours", make(5, 3, 8, 8, true), {{5, 24}}, {false}, 0},
          {"neighbours, a part of each head", make(3, 2, 50, 44, true), {{3, 100}}, {false}, 0},
          {"with a factor", make(4, 2, 8, 6, false, 1.3), {{4, 16}}, {false}, 0},
          {"neighbours with a factor", make(4, 2, 8, 6, true, 0.7), {{4, 16}}, {false}, 0}};
}

}  // namespace nibble::ops
