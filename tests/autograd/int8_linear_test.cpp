// Linear layers over int8 weights: LLM.int8() in 16-bit types, the decoded weight in f32 and in dX.
#include <gtest/gtest.h>

#include "autograd/nn/linear.h"
#include "autograd/ops.h"
#include "autograd/product.h"
#include "autograd/tape.h"
#include "tests/autograd/tensors.h"

namespace nibble {
namespace {

using testing::distance;
using testing::normals;
using testing::same_bytes;
using testing::tensor;
using testing::values;

constexpr int64_t kRows = 9, kIn = 210, kOut = 70;

struct Int8Linear : ::testing::Test {
  Device device = Device::cpu(2);

  std::shared_ptr<const Weight> weight(std::optional<double> threshold) const {
    const Ctx ctx(device, DType::f32);
    QuantSpec spec;
    spec.format = Format::int8;
    spec.outlier_threshold = threshold;
    const Tensor w = tensor(ctx, {kOut, kIn}, normals("w", kOut * kIn, 0.1), DType::f32);
    return std::make_shared<const Weight>(quantize(device, w, spec, "w"));
  }
  // Two features are fifteen times the others.
  Tensor input(const Ctx& ctx) const {
    std::vector<double> x = normals("x", kRows * kIn);
    for (size_t i = 0; i < x.size(); ++i) {
      if (i % kIn == 11 || i % kIn == 100) x[i] *= 15;
    }
    return tensor(ctx, {kRows, kIn}, x, ctx.compute);
  }
  // x Wᵀ with the decoded weight, in fp64.
  std::vector<double> truth(const Ctx& ctx) const {
    const std::vector<double> w = values(ctx, dequantize(device, *weight({}), DType::f32));
    const std::vector<double> x = values(ctx, input(ctx));
    std::vector<double> y(kRows * kOut);
    for (size_t i = 0; i < y.size(); ++i) {
      for (size_t k = 0; k < kIn; ++k) y[i] += x[i / kOut * kIn + k] * w[i % kOut * kIn + k];
    }
    return y;
  }
  double error(DType compute, std::optional<double> threshold) const {
    Ctx ctx(device, compute);
    const Tensor y = ops::linear(ctx, Var(input(ctx)), weight(threshold)).value();
    return distance(values(ctx, y), truth(ctx));
  }
};

TEST_F(Int8Linear, MultipliesByTheDecodedWeightInF32WhateverTheThreshold) {
  EXPECT_LE(error(DType::f32, std::nullopt), 2e-6);
  EXPECT_LE(error(DType::f32, 6), 2e-6);
  EXPECT_LE(error(DType::f32, 0), 2e-6);
}

TEST_F(Int8Linear, QuantizesItsInputInBf16OnlyWhenAThresholdIsSet) {
  const double decoded = error(DType::bf16, std::nullopt), all = error(DType::bf16, 0);
  const double most = error(DType::bf16, 6);
  EXPECT_LE(decoded, 8e-3);
  EXPECT_GT(all, 1.5e-2) << "one scale for small features and large ones";
  EXPECT_LT(all, 0.1);
  EXPECT_LT(most, all / 1.5);
}

TEST_F(Int8Linear, BackwardMultipliesByTheDecodedWeightAndSavesNothing) {
  Tensor dx[2];
  for (const bool threshold : {false, true}) {
    Tape tape;
    Ctx ctx(device, DType::bf16, &tape);
    const Var x = Var::input(input(ctx));
    const auto w = weight(threshold ? std::optional<double>(6) : std::nullopt);
    const Var y = ops::linear(ctx, x, w);
    EXPECT_EQ(tape.saved_bytes(), 0);
    tape.backward(ctx, y, testing::normal(ctx, "dy", {kRows, kOut}));
    dx[threshold ? 1 : 0] = x.node()->grad;
  }
  EXPECT_TRUE(same_bytes(dx[0], dx[1]));
  const Ctx ctx(device, DType::bf16);
  const std::vector<double> w = values(ctx, dequantize(device, *weight({}), DType::f32));
  const std::vector<double> dy = values(ctx, testing::normal(ctx, "dy", {kRows, kOut}));
  std::vector<double> want(kRows * kIn);
  for (size_t i = 0; i < want.size(); ++i) {
    for (size_t n = 0; n < kOut; ++n) want[i] += dy[i / kIn * kOut + n] * w[n * kIn + i % kIn];
  }
  EXPECT_LE(distance(values(ctx, dx[1]), want), 5e-3);
}

TEST_F(Int8Linear, ATokensResultHasTheSameBitsAloneAndInABatch) {
  Ctx ctx(device, DType::bf16);
  Linear layer("model.q_proj", weight(3));
  auto adapter = std::make_shared<LoraPair>();
  const auto parameter = [&](const char* name, Shape shape) {
    return Parameter{
        name, tensor(ctx, shape, normals(name, shape.numel(), 0.5), DType::f32), {}, true};
  };
  adapter->a = parameter("a", {4, kIn});
  adapter->b = parameter("b", {kOut, 4});
  layer.set_adapter(0, adapter);
  const Tensor x = input(ctx);
  ForwardContext batch{ctx};
  batch.adapters = {{0, 2, 6}};
  const Tensor y = layer(Var(x), batch).value();
  for (int64_t r = 0; r < kRows; ++r) {
    ForwardContext alone{ctx};
    if (r >= 2 && r < 6) alone.adapters = {{0, 0, 1}};
    const Tensor one = layer(Var(x.row_range(r, r + 1)), alone).value();
    EXPECT_TRUE(same_bytes(one, y.row_range(r, r + 1))) << "row " << r;
  }
}

}  // namespace
}  // namespace nibble
