// int4: the nearest of fifteen evenly spaced values; one file and one row made it a format.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/quant/goldens.h"

namespace nibble::testing {
namespace {

QuantSpec int4_spec(int64_t block = 64) {
  const std::optional<Format> format = format_named("int4");
  EXPECT_TRUE(format.has_value());
  return {format.value_or(Format::nf4), block, false, {}};
}

TEST(Int4, EveryValueGetsTheNearestSeventhOfItsBlocksLargest) {
  Tensor w = new_tensor({7, 100}, DType::f32);
  std::mt19937_64 random(11);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < w.numel(); ++i) w.data<float>()[i] = normal(random);
  const Weight q = quantize(device(), w, int4_spec(), "w");
  const Tensor back = dequantize(device(), q, DType::f32);
  for (int64_t i = 0; i < w.numel(); ++i) {
    const double absmax = q.scales.data<float>()[i / 64];
    const double nearest = std::nearbyint(w.data<float>()[i] / absmax * 7) / 7 * absmax;
    EXPECT_NEAR(back.data<float>()[i], nearest, 2e-7 * absmax) << i;
  }
}

TEST(Int4, TheEndsAndZeroAreExactAndTheCodeMinusEightIsNeverGiven) {
  Tensor w = new_tensor({1, 128}, DType::f32);
  for (int i = 0; i < 64; ++i) w.data<float>()[i] = static_cast<float>(i - 32) / 8;
  const Weight q = quantize(device(), w, int4_spec(), "w");
  const Tensor back = dequantize(device(), q, DType::f32);
  EXPECT_EQ(back.data<float>()[0], -4.0f);
  EXPECT_EQ(back.data<float>()[32], 0.0f);
  for (int i = 64; i < 128; ++i) EXPECT_EQ(back.data<float>()[i], 0.0f);
  for (int64_t i = 0; i < q.codes.numel(); ++i) {
    const uint8_t byte = q.codes.data<uint8_t>()[i];
    EXPECT_NE(byte >> 4, 8);
    EXPECT_NE(byte & 15, 8);
  }
  EXPECT_NEAR(rule_of(q.format).table[8], -8.0 / 7, 1e-7);
}

// Evenly spaced values err as uniform noise of a step does, absmax / 7; the largest of 64 normal
// numbers has a root mean square of 2.634.
TEST(Int4, ErrsMoreThanNf4OnNormalWeights) {
  Tensor w = new_tensor({256, 512}, DType::f32);
  std::mt19937_64 random(12);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < w.numel(); ++i) w.data<float>()[i] = normal(random);
  const auto error = [&](const QuantSpec& spec) {
    const Tensor back = dequantize(device(), quantize(device(), w, spec, "w"), DType::f32);
    double square = 0;
    for (int64_t i = 0; i < w.numel(); ++i) {
      square += std::pow(back.data<float>()[i] - w.data<float>()[i], 2);
    }
    return std::sqrt(square / static_cast<double>(w.numel()));
  };
  const double int4 = error(int4_spec()), nf4 = error({Format::nf4, 64, false, {}});
  EXPECT_GT(int4, nf4);
  EXPECT_NEAR(int4, 2.634 / 7 / std::sqrt(12), 0.003);
}

}  // namespace
}  // namespace nibble::testing
