// What the report on a quantized matrix says, against sums made by hand.
#include "quant/measure.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/quant/goldens.h"

namespace nibble::testing {
namespace {

void expect_sums(const Weight& w, const Tensor& values, int64_t block) {
  const WeightReport report = measure(device(), w, values);
  const Tensor decoded = dequantize(device(), w, DType::f32);
  double error = 0, value = 0, worst = -1;
  int64_t worst_at = -1;
  const int64_t n = values.numel();
  for (int64_t b = 0; b * block < n; ++b) {
    double e = 0, v = 0;
    for (int64_t i = b * block; i < std::min(n, (b + 1) * block); ++i) {
      const double x = value_at(values, i), d = decoded.data<float>()[i] - x;
      e += d * d;
      v += x * x;
    }
    error += e;
    value += v;
    if (const double own = v > 0 ? std::sqrt(e / v) : 0; own > worst) {
      worst = own;
      worst_at = b;
    }
  }
  EXPECT_TRUE(report.measured);
  EXPECT_NEAR(report.relative_error, std::sqrt(error / value), 1e-12);
  EXPECT_NEAR(report.snr_db, 10 * std::log10(value / error), 1e-9);
  EXPECT_NEAR(report.worst_error, worst, 1e-12);
  EXPECT_EQ(report.worst_block, worst_at);
}

Tensor waves(int64_t rows, int64_t in) {
  const Tensor t = new_tensor({rows, in}, DType::f32);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.data<float>()[i] = std::sin(static_cast<float>(i)) * (1 + static_cast<float>(i % 131));
  return t;
}

TEST(Measure, ErrorsAreThoseOfTheDecodedValuesBlockByBlock) {
  // Pieces hold 2^18 values: the third matrix ends blocks in the next piece.
  for (const auto& [rows, in] : {std::pair<int64_t, int64_t>{8, 128}, {5, 100}, {3000, 201}}) {
    const Tensor values = waves(rows, in);
    for (const bool nested : {false, true}) {
      QuantSpec spec;
      spec.double_quant = nested;
      expect_sums(quantize(device(), values, spec, "w"), values, 64);
    }
    QuantSpec int8;
    int8.format = Format::int8;
    expect_sums(quantize(device(), values, int8, "w"), values, in);
  }
}

TEST(Measure, BitsCountScalesAndTheirRangeIsSaid) {
  const Tensor values = waves(256, 256);
  QuantSpec spec;
  spec.double_quant = false;
  const Weight w = quantize(device(), values, spec, "w");
  const WeightReport report = measure(device(), w, {});
  EXPECT_FALSE(report.measured);
  EXPECT_EQ(report.bits, 4.5);  // 4 + 32 / 64
  const float* s = w.scales.data<float>();
  EXPECT_EQ(report.absmax_low, *std::min_element(s, s + w.scales.numel()));
  EXPECT_EQ(report.absmax_high, *std::max_element(s, s + w.scales.numel()));
  EXPECT_EQ(measure(device(), quantize(device(), values, {}, "w"), {}).bits, 4.126953125);
}

}  // namespace
}  // namespace nibble::testing
