// The reverse walk against derivatives worked out by hand.
#include "autograd/tape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/autograd/tensors.h"

namespace nibble {
namespace {

using ::testing::ElementsAre;
using testing::integers;
using testing::normal;
using testing::same_bytes;
using testing::tensor;
using testing::values;

class TapeTest : public ::testing::Test {
 protected:
  Device device_ = Device::cpu(1, CpuTier::scalar);
  Tape tape_;
  Ctx ctx_{device_, DType::f32, &tape_};

  Parameter parameter(const char* name, Shape shape, const std::vector<double>& v) {
    return {name, tensor(ctx_, shape, v, DType::f32), {}, true};
  }
};

TEST_F(TapeTest, SumsTheGradientsOfAValueUsedSeveralTimes) {
  const Var x = Var::input(tensor(ctx_, {1, 2}, {1, 2}, DType::f32));
  const Var twice = ops::add(ctx_, x, x);
  const Var thrice = ops::add(ctx_, twice, x);
  const Var y = ops::add(ctx_, thrice, twice);  // 5 x
  tape_.backward(ctx_, y, tensor(ctx_, {1, 2}, {1, -3}, DType::f32));
  EXPECT_THAT(values(ctx_, y.value()), ElementsAre(5, 10));
  EXPECT_THAT(values(ctx_, x.node()->grad), ElementsAre(5, -15));
  EXPECT_EQ(tape_.size(), 0U);
}

TEST_F(TapeTest, AddsToAParameterAcrossMicroBatchesUntilItIsTaken) {
  Parameter b = parameter("b", {2}, {0, 0});
  const Tensor x = tensor(ctx_, {3, 2}, {0, 0, 0, 0, 0, 0}, DType::f32);
  for (int micro = 0; micro < 2; ++micro) {
    const Var y = ops::bias(ctx_, Var(x), Var::leaf(b));
    tape_.backward(ctx_, y, tensor(ctx_, {3, 2}, {1, 2, 3, 4, 5, 6}, DType::f32));
  }
  EXPECT_THAT(values(ctx_, b.grad), ElementsAre(18, 24));

  const Tensor taken = b.grad;  // a handle elsewhere keeps its values
  const Var y = ops::bias(ctx_, Var(x), Var::leaf(b));
  tape_.backward(ctx_, y, tensor(ctx_, {3, 2}, {1, 1, 1, 1, 1, 1}, DType::f32));
  EXPECT_THAT(values(ctx_, taken), ElementsAre(18, 24));
  EXPECT_THAT(values(ctx_, b.grad), ElementsAre(21, 27));
}

TEST_F(TapeTest, GivesATiedMatrixBothItsGradients) {
  // L = -ln softmax(E[id] Eᵀ)[label]: dE = dz ⊗ h from the head, + dh on row id from the embedding.
  Parameter e = parameter("embed", {3, 2}, {0.5, -1, 2, 0.25, -0.75, 1});
  const Var h = ops::embedding(ctx_, Var::leaf(e), integers(ctx_, {1}));
  const Var loss = ops::lm_head_loss(ctx_, h, nullptr, Var::leaf(e), integers(ctx_, {2}));
  tape_.backward(ctx_, loss, tensor(ctx_, {1}, {1}, DType::f64));

  const double w[3][2] = {{0.5, -1}, {2, 0.25}, {-0.75, 1}};
  double z[3], sum = 0, expected[3][2] = {};
  for (int c = 0; c < 3; ++c) sum += std::exp(z[c] = w[c][0] * w[1][0] + w[c][1] * w[1][1]);
  for (int c = 0; c < 3; ++c) {
    const double dz = std::exp(z[c]) / sum - (c == 2 ? 1 : 0);
    for (int k = 0; k < 2; ++k) {
      expected[c][k] += dz * w[1][k];
      expected[1][k] += dz * w[c][k];
    }
  }
  const std::vector<double> got = values(ctx_, e.grad);
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(got[i], expected[i / 2][i % 2], 2e-6);
  EXPECT_NEAR(values(ctx_, loss.value())[0], std::log(sum) - z[2], 2e-6);
}

TEST_F(TapeTest, RecordsNothingForFrozenInputs) {
  const Var x(normal(ctx_, "x", {2, 4}));
  const Var y = ops::gated(ctx_, x, ops::add(ctx_, x, x), Activation::silu);
  EXPECT_FALSE(y.wants_grad());
  EXPECT_EQ(tape_.size(), 0U);
}

TEST_F(TapeTest, SkipsWhatTheLossDoesNotDependOn) {
  Parameter used = parameter("used", {2}, {1, 1}), unused = parameter("unused", {2}, {1, 1});
  const Var x(tensor(ctx_, {1, 2}, {1, 2}, DType::f32));
  const Var y = ops::bias(ctx_, x, Var::leaf(used));
  ops::bias(ctx_, x, Var::leaf(unused));
  tape_.backward(ctx_, y, tensor(ctx_, {1, 2}, {1, 1}, DType::f32));
  EXPECT_TRUE(used.grad.defined());
  EXPECT_FALSE(unused.grad.defined());
}

TEST_F(TapeTest, WritesOverABufferOnlyWhenNobodyElseHoldsIt) {
  Ctx quiet(ctx_, nullptr);
  Var held(tensor(ctx_, {1, 2}, {1, 2}, DType::f32));
  const Var b(tensor(ctx_, {2}, {10, 20}, DType::f32));
  const void* place = held.value().raw();
  Var copy = ops::bias(quiet, held, b);
  EXPECT_THAT(values(ctx_, held.value()), ElementsAre(1, 2));
  Var moved = ops::bias(quiet, std::move(held), b);
  EXPECT_EQ(moved.value().raw(), place);
  EXPECT_TRUE(same_bytes(copy.value(), moved.value()));
}

TEST_F(TapeTest, FreesSavedTensorsAsItWalks) {
  Var x = Var::input(normal(ctx_, "x", {64, 64}));
  const auto node = x.node();
  for (int layer = 0; layer < 20; ++layer) x = ops::gated(ctx_, x, x, Activation::silu);
  const int64_t saved = tape_.saved_bytes();
  EXPECT_EQ(saved, 20 * 2 * 64 * 64 * 4);
  const Tensor seed = normal(ctx_, "seed", {64, 64});
  device_.memory().reset_peak();
  const int64_t before = device_.memory().live();
  tape_.backward(ctx_, x, seed);
  EXPECT_LE(device_.memory().peak(), before + 5 * 64 * 64 * 4);
  x = Var();
  EXPECT_LE(device_.memory().live(), 3 * 64 * 64 * 4);  // the input's gradient and the seed
  EXPECT_TRUE(node->grad.defined());
}

TEST_F(TapeTest, FreesALongChainWithoutRecursion) {
  Var x = Var::input(normal(ctx_, "x", {1, 2}));
  for (int i = 0; i < 200000; ++i) x = ops::add(ctx_, x, x);
  x = Var();
  tape_.clear();
  EXPECT_EQ(tape_.size(), 0U);
}

}  // namespace
}  // namespace nibble
