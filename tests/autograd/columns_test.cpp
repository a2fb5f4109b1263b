// Windows on a product that made several things at once: q, k and v, gate and up.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "tests/autograd/tensors.h"

namespace nibble {
namespace {

using testing::normal;
using testing::same_bytes;
using testing::values;

class ColumnsTest : public ::testing::Test {
 protected:
  Device device_ = Device::cpu(2);
  Tape tape_;
  Ctx ctx_{device_, DType::f32, &tape_};
};

TEST_F(ColumnsTest, OfOneGroupAreAWindowWithoutACopy) {
  const Tensor x = normal(ctx_, "x", {3, 10});
  const Var y = ops::columns(ctx_, Var(x), 1, 4, 5);
  EXPECT_EQ(y.value().raw(), x.data<float>() + 4);
  EXPECT_EQ(y.value().pitch(), 10);
  EXPECT_EQ(y.value().shape(), Shape({3, 5}));
}

// Head by head q, k, v: column ((head × 3) + part) × dim + d of the product.
TEST_F(ColumnsTest, OfEveryHeadComeSideBySide) {
  const int64_t tokens = 4, heads = 3, dim = 5;
  const Tensor x = normal(ctx_, "qkv", {tokens, heads * 3 * dim});
  // The same columns taken out of a wider matrix, rows of which are not contiguous.
  const Tensor wide =
      Tensor::zeros(ctx_.memory, {tokens, heads * 3 * dim + 7}, DType::f32, Purpose::activation);
  const Tensor inside = wide.columns(2, 2 + heads * 3 * dim);
  ctx_.k.cast(ctx_.stream, tokens, x.cols(), DType::f32, x.raw(), x.pitch(), DType::f32,
              inside.raw(), inside.pitch());
  for (int64_t part = 0; part < 3; ++part) {
    const Var y = ops::columns(ctx_, Var(x), heads, part * dim, dim);
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t c = 0; c < heads * dim; ++c) {
        EXPECT_EQ(y.value().data<float>()[t * heads * dim + c],
                  x.data<float>()[t * x.cols() + (c / dim * 3 + part) * dim + c % dim]);
      }
    }
    EXPECT_TRUE(
        same_bytes(y.value(), ops::columns(ctx_, Var(inside), heads, part * dim, dim).value()));
  }
}

// Gradients of the parts of a fused product arrive each in its own columns, those of a part that
// nothing used stay zero, and an op that writes over its input leaves the other windows alone.
TEST_F(ColumnsTest, PartsOfOneProductGetTheirOwnGradients) {
  const Tensor value = normal(ctx_, "gate|up|rest", {4, 21});
  for (const int64_t groups : {1, 3}) {
    const int64_t g = 21 / groups, n = g / 3;
    const Var x = Var::input(value);
    Var gate = ops::columns(ctx_, x, groups, 0, n), up = ops::columns(ctx_, x, groups, n, n);
    const Tensor before = copy_as(ctx_, up.value(), DType::f32);
    const Tensor gate_alone = copy_as(ctx_, gate.value(), DType::f32);
    const Var doubled = ops::add(ctx_, gate, gate);
    EXPECT_TRUE(same_bytes(copy_as(ctx_, up.value(), DType::f32), before));
    const Var y = ops::gated(ctx_, doubled, up, Activation::silu);
    tape_.backward(ctx_, y, normal(ctx_, "seed", y.value().shape()));

    const Var a = Var::input(gate_alone), b = Var::input(before);
    const Var same = ops::gated(ctx_, ops::add(ctx_, a, a), b, Activation::silu);
    EXPECT_TRUE(same_bytes(same.value(), y.value()));
    tape_.backward(ctx_, same, normal(ctx_, "seed", y.value().shape()));
    const std::vector<double> dx = values(ctx_, x.node()->grad);
    const std::vector<double> da = values(ctx_, a.node()->grad), db = values(ctx_, b.node()->grad);
    for (int64_t i = 0; i < 4 * 21; ++i) {
      const int64_t group = i % 21 / g, part = i % g / n,
                    at = i / 21 * groups * n + group * n + i % g % n;
      const double want = part == 0   ? da[static_cast<size_t>(at)]
                          : part == 1 ? db[static_cast<size_t>(at)]
                                      : 0;
      EXPECT_EQ(dx[static_cast<size_t>(i)], want) << groups << " groups, element " << i;
    }
  }
}

TEST_F(ColumnsTest, BeyondTheGroupAreRefused) {
  const Var x(normal(ctx_, "x", {2, 12}));
  EXPECT_THROW(ops::columns(ctx_, x, 3, 2, 3), Bug);
  EXPECT_THROW(ops::columns(ctx_, x, 5, 0, 1), Bug);
  EXPECT_THROW(ops::columns(ctx_, x, 1, -1, 2), Bug);
}

}  // namespace
}  // namespace nibble
