// Vector-wise 8-bit codes: the definition written out, and the same bits on every tier.
#include <gtest/gtest.h>

#include <limits>

#include "base/text.h"
#include "kernels/device.h"
#include "tests/kernels/int8_cases.h"

namespace nibble::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

constexpr int64_t kMargin = 5;  // bytes of each row of codes that nobody may write

Coded coded(CpuTier tier, const Matrix& x, double threshold, const uint8_t* columns,
            int threads = 2) {
  ThreadPool pool(threads);
  Stream stream(pool);
  Coded c;
  c.codes.assign(static_cast<size_t>(x.rows * (x.cols + kMargin)), 99);
  c.absmax.assign(static_cast<size_t>(x.rows), -1);
  cpu_table(tier).quantize_rows(stream, x.rows, x.cols, x.dtype, x.data(), x.pitch, threshold,
                                columns, c.codes.data(), x.cols + kMargin, c.absmax.data());
  return c;
}

TEST(QuantizeRows, EveryTierGivesTheCodesOfTheDefinition) {
  std::vector<int64_t> widths{257, 1000};
  for (int64_t c = 1; c <= 40; ++c) widths.push_back(c);
  for (const int64_t cols : widths) {
    std::vector<uint8_t> columns(static_cast<size_t>(cols));
    for (int64_t k = 0; k < cols; ++k) columns[static_cast<size_t>(k)] = k % 5 == 2 ? 255 : 0;
    for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
      const Matrix x = Matrix::random(5, cols, t, static_cast<uint32_t>(cols), cols + 3);
      for (const float threshold : {0.0f, 1.5f}) {
        for (const bool flagged : {false, true}) {
          const uint8_t* flags = flagged ? columns.data() : nullptr;
          const Coded want = defined(x, threshold, flags, kMargin);
          for (const CpuTier tier : usable_tiers()) {
            const Coded got = coded(tier, x, threshold, flags);
            ASSERT_EQ(got.codes, want.codes) << name_of(tier) << " " << cols << " " << name_of(t);
            ASSERT_EQ(got.absmax, want.absmax) << name_of(tier) << " " << cols;
          }
        }
      }
    }
  }
}

Matrix row_of(const std::vector<float>& values) {
  Matrix m(1, static_cast<int64_t>(values.size()), DType::f32);
  std::memcpy(m.data(), values.data(), m.bytes.size());
  return m;
}

TEST(QuantizeRows, ANanOrInfIsTheScaleOfItsRowAndLeavesNoCode) {
  for (const CpuTier tier : usable_tiers()) {
    for (const float bad : {std::nanf(""), kInf, -kInf}) {
      std::vector<float> values(37, 1.0f);
      values[20] = bad;
      const Coded c = coded(tier, row_of(values), 0, nullptr);
      EXPECT_FALSE(std::isfinite(c.absmax[0]));
      EXPECT_EQ(std::isnan(c.absmax[0]), std::isnan(bad));
      for (size_t i = 0; i < 37; ++i) EXPECT_EQ(c.codes[i], 0);
      const Coded kept = coded(tier, row_of(values), 6, nullptr);
      EXPECT_EQ(std::isnan(kept.absmax[0]), std::isnan(bad)) << "a NaN is no outlier";
      if (std::isinf(bad)) {
        EXPECT_EQ(kept.absmax[0], 1);
        EXPECT_EQ(kept.codes[19], 127);
        EXPECT_EQ(kept.codes[20], 0);
      }
    }
  }
}

TEST(QuantizeRows, TinyRowsGetTheCodesOfTheirQuotients) {
  for (const CpuTier tier : usable_tiers()) {
    for (const float tiny : {1e-37f, 1e-39f, 1e-43f}) {
      const Coded c = coded(tier, row_of({tiny, -tiny, tiny / 2, 0}), 0, nullptr);
      EXPECT_EQ(c.absmax[0], tiny);
      EXPECT_EQ(c.codes[0], 127);
      EXPECT_EQ(c.codes[1], -127);
      EXPECT_NEAR(c.codes[2], 64, 1);
      EXPECT_EQ(c.codes[3], 0);
    }
  }
}

TEST(QuantizeRows, ARowOfZerosOrOutliersOnlyHasScaleZero) {
  for (const CpuTier tier : usable_tiers()) {
    for (const float value : {0.0f, -7.0f}) {
      const Coded c = coded(tier, row_of(std::vector<float>(19, value)), 6, nullptr);
      EXPECT_EQ(c.absmax[0], 0);
      for (size_t i = 0; i < 19; ++i) EXPECT_EQ(c.codes[i], 0);
    }
  }
}

TEST(QuantizeRows, NoRowKnowsItsCompanyOrItsThreads) {
  const Matrix x = Matrix::random(70, 300, DType::bf16, 5);
  for (const CpuTier tier : usable_tiers()) {
    const Coded one = coded(tier, x, 2, nullptr, 1), many = coded(tier, x, 2, nullptr, 5);
    EXPECT_EQ(one.codes, many.codes);
    EXPECT_EQ(one.absmax, many.absmax);
  }
}

}  // namespace
}  // namespace nibble::testing
