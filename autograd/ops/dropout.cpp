// Dropout by counter: whether (row, column) stays is a function of seed, site, epoch, document and
// position, so backward draws the mask again instead of saving it:  dx = dy * keep / (1 - p)
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct Dropout : Op {
  double p;
  RngKey key;
  Tensor samples, positions;  // i64, i32 (rows)

  Dropout(double rate, const RngKey& k, Tensor s, Tensor pos)
      : p(rate), key(k), samples(std::move(s)), positions(std::move(pos)) {}
  const char* name() const override { return "dropout"; }

  Shape infer(std::span<const Shape> in) const override {
    check_eq(samples.numel(), in[0][0], "dropout: rows of samples");
    check_eq(positions.numel(), in[0][0], "dropout: rows of positions");
    check(p >= 0 && p < 1, "dropout: 0 <= p < 1");
    return in[0];
  }

  Tensor drop(Ctx& ctx, const Tensor& x) const {
    Tensor y = ctx.empty(x.shape(), x.dtype());
    ctx.k.dropout(ctx.stream, x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), p, key,
                  samples.data<int64_t>(), positions.data<int32_t>(), y.raw(), y.pitch());
    return y;
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved*) const override {
    return drop(ctx, in[0]);
  }

  void backward(Ctx& ctx, const Saved&, const Tensor& dy, Grads& grads) const override {
    if (grads.want[0]) grads.d[0] = drop(ctx, dy);
  }
};

}  // namespace

Var dropout(Ctx& ctx, const Var& x, double p, const RngKey& key, const Tensor& samples,
            const Tensor& positions) {
  return apply(ctx, std::make_shared<Dropout>(p, key, samples, positions), {x});
}

std::vector<Sample> samples_dropout() {
  const auto make = [](double p, int64_t rows) {
    return [=](Ctx& ctx) {
      Tensor samples = ctx.empty({rows}, DType::i64), positions = ctx.empty({rows}, DType::i32);
      for (int64_t r = 0; r < rows; ++r) {
        samples.data<int64_t>()[r] = 100 + r / 3;
        positions.data<int32_t>()[r] = static_cast<int32_t>(r % 3);
      }
      return std::make_shared<Dropout>(p, RngKey{7, 11, 0, 2}, samples, positions);
    };
  };
  return {{"a third", make(1.0 / 3, 7), {{7, 13}}, {false}, 0},
          {"none", make(0, 2), {{2, 6}}, {false}, 0}};
}

}  // namespace nibble::ops
