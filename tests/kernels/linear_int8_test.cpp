// Products of codes: integer sums exact on every tier, LLM.int8() against its formula in fp64,
// codes against weights of any format; and no row that knows its company.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "base/errors.h"
#include "base/text.h"
#include "kernels/cpu/int8_block.h"
#include "kernels/device.h"
#include "tests/kernels/int8_cases.h"

namespace nibble::testing {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<int8_t> random_bytes(int64_t n, uint32_t seed) {
  std::vector<int8_t> bytes(static_cast<size_t>(n));
  std::mt19937 random(seed);
  for (auto& b : bytes) b = static_cast<int8_t>(random());
  return bytes;
}

// A way to multiply bytes: a tier's row, or the part of a tier below it.
struct Multiplier {
  std::string name;
  void (*block)(const cpu::Int8Block&) = nullptr;
  CpuTier tier = CpuTier::scalar;

  void run(const cpu::Int8Block& p) const {
    if (block != nullptr) return block(p);
    ThreadPool pool(3);
    Stream stream(pool);
    cpu_table(tier).matmul_int8(stream, p.m, p.n, p.k, p.a, p.lda, p.b, p.ldb, p.c, p.ldc);
  }
};

std::vector<Multiplier> multipliers() {
  std::vector<Multiplier> all;
  for (const CpuTier tier : usable_tiers()) {
    all.push_back({name_of(tier), nullptr, tier});
    if (tier == CpuTier::avx512) {
      all.push_back({"avx512 without VNNI", &cpu::avx512::multiply_bytes, tier});
      if (cpu_features().avx512_vnni) {
        all.push_back({"avx512 with VNNI", &cpu::avx512vnni::multiply_bytes, tier});
      }
    }
  }
  return all;
}

void expect_exact(int64_t m, int64_t n, int64_t k) {
  const int64_t lda = k + 3, ldb = k + 1, ldc = n + 2;
  const auto a = random_bytes(m * lda, 1), b = random_bytes(n * ldb, 2);
  for (const Multiplier& way : multipliers()) {
    std::vector<int32_t> c(static_cast<size_t>(m * ldc), -7);
    way.run({m, n, k, a.data(), lda, b.data(), ldb, c.data(), ldc});
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < ldc; ++j) {
        int64_t sum = j < n ? 0 : -7;
        for (int64_t p = 0; p < k && j < n; ++p) {
          sum += int64_t{a[static_cast<size_t>(i * lda + p)]} * b[static_cast<size_t>(j * ldb + p)];
        }
        ASSERT_EQ(c[static_cast<size_t>(i * ldc + j)], sum)
            << way.name << " " << m << "x" << n << "x" << k << " at " << i << "," << j;
      }
    }
  }
}

TEST(MatmulInt8, EveryWayIsExactAtEveryShape) {
  for (const int64_t k : {0, 1, 15, 16, 17, 31, 33, 63, 64, 65, 130, 1000}) expect_exact(7, 5, k);
  for (const int64_t m : {0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 97, 200}) expect_exact(m, 9, 70);
  for (const int64_t n : {0, 1, 2, 3, 4, 5, 63, 64, 65, 130}) expect_exact(3, n, 70);
}

TEST(MatmulInt8, TheLargestSumsFit) {
  const int64_t k = cpu::kWidestInt8;
  const std::vector<int8_t> low(static_cast<size_t>(k), -128), high(static_cast<size_t>(k), 127);
  for (const Multiplier& way : multipliers()) {
    int32_t c = 0;
    way.run({1, 1, k, low.data(), k, low.data(), k, &c, 1});
    EXPECT_EQ(c, k * 128 * 128) << way.name;
    way.run({1, 1, k, low.data(), k, high.data(), k, &c, 1});
    EXPECT_EQ(c, k * -128 * 127) << way.name;
    way.run({1, 1, k, high.data(), k, low.data(), k, &c, 1});
    EXPECT_EQ(c, k * -128 * 127) << way.name;
  }
}

TEST(MatmulInt8, WiderSumsAreRefused) {
  ThreadPool pool(1);
  Stream stream(pool);
  for (const CpuTier tier : usable_tiers()) {
    int32_t c = 0;
    int8_t none = 0;
    EXPECT_THROW(
        cpu_table(tier).matmul_int8(stream, 1, 1, cpu::kWidestInt8 + 1, &none, 0, &none, 0, &c, 1),
        Bug);
  }
}

// ── LLM.int8() ───────────────────────────────────────────────────────────────────────────────────

Matrix int8_forward(CpuTier tier, int threads, const Matrix& x, const WeightView& w,
                    double threshold, const uint8_t* columns, DType y_dtype, int64_t pitch = 0) {
  ThreadPool pool(threads);
  Stream stream(pool);
  const KernelTable& k = cpu_table(tier);
  Matrix y = Matrix::random(x.rows, w.out, y_dtype, 9, pitch);
  std::vector<uint8_t> scratch(
      static_cast<size_t>(k.linear_int8_scratch(stream, x.rows, w, x.dtype)), 0xff);
  k.linear_int8(stream, x.rows, w, x.dtype, x.data(), x.pitch, threshold, columns, y_dtype,
                y.data(), y.pitch, scratch.data());
  return y;
}

// Σ of codes of x and W, the outliers of x beside it.
double formula(const Matrix& x, const Coded& c, const WeightView& w, float threshold,
               const uint8_t* columns, int64_t i, int64_t n) {
  const auto* codes = static_cast<const int8_t*>(w.codes) + n * w.pitch;
  double sum = 0, beside = 0;
  for (int64_t k = 0; k < x.cols; ++k) {
    sum += c.codes[static_cast<size_t>(i * x.cols + k)] * codes[k];
    const bool beyond = threshold > 0 && std::fabs(x.at(i, k)) >= threshold;
    if (beyond || (columns != nullptr && columns[k] != 0)) beside += x.at(i, k) * codes[k];
  }
  const double row = static_cast<double>(c.absmax[static_cast<size_t>(i)]) / 127;
  return (sum * row + beside) * (static_cast<double>(w.absmax[n]) / 127);
}

void expect_int8(const Matrix& x, const TestWeight& w, float threshold, const uint8_t* columns) {
  const Coded c = defined(x, threshold, columns);
  for (const CpuTier tier : usable_tiers()) {
    for (const DType y_dtype : {DType::f32, x.dtype}) {
      const Matrix y =
          int8_forward(tier, 2, x, w.view, threshold, columns, y_dtype, w.view.out + 3);
      const Matrix before = Matrix::random(x.rows, w.view.out, y_dtype, 9, w.view.out + 3);
      double largest = 1e-30, worst = 0;
      for (int64_t i = 0; i < x.rows; ++i) {
        for (int64_t n = 0; n < w.view.out; ++n) {
          const double want = formula(x, c, w.view, threshold, columns, i, n);
          largest = std::max(largest, std::fabs(want));
          worst = std::max(worst, std::fabs(y.at(i, n) - want));
          ASSERT_FALSE(std::isnan(y.at(i, n)));
        }
        for (int64_t n = w.view.out; n < y.pitch; ++n) ASSERT_EQ(y.at(i, n), before.at(i, n));
      }
      const double allowed = y_dtype == DType::f32   ? 1e-6
                             : y_dtype == DType::f16 ? 0x1.1p-11
                                                     : 0x1.1p-8;
      EXPECT_LE(worst / largest, allowed)
          << name_of(tier) << " " << x.rows << "x" << w.view.out << "x" << x.cols << " "
          << name_of(x.dtype) << " to " << name_of(y_dtype) << " threshold " << threshold;
    }
  }
}

TEST(LinearInt8, MatchesItsFormulaAtEveryShapeUnderBothRulesOfOutliers) {
  for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
    for (const auto& [m, out, in] : {std::array<int64_t, 3>{1, 64, 128},
                                     {1, 7, 1},
                                     {3, 65, 33},
                                     {7, 130, 70},
                                     {100, 20, 65},
                                     {6, 64, 1100},
                                     {0, 5, 9}}) {
      std::vector<uint8_t> columns(static_cast<size_t>(in));
      for (int64_t k = 0; k < in; k += 9) columns[static_cast<size_t>(k)] = 1;
      const TestWeight w = rows8_weight(out, in, DType::f32, 71, in + 5);
      const Matrix x = Matrix::random(m, in, t, 72, in + 2);
      expect_int8(x, w, 0, nullptr);
      expect_int8(x, w, 2, nullptr);
      expect_int8(x, w, 2, columns.data());
    }
  }
}

// Activations as language models have them: a few features are twenty times the others.
Matrix with_outlier_features(int64_t m, int64_t in, DType t) {
  const Matrix plain = Matrix::random(m, in, DType::f32, 73);
  Matrix x(m, in, t);
  x.bytes.clear();
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t k = 0; k < in; ++k) {
      append(x.bytes, t, round_to(t, plain.at(i, k) * (k % 100 == 7 ? 20 : 1)));
    }
  }
  return x;
}

TEST(LinearInt8, KeepingOutliersApartShrinksTheErrorAndLowerThresholdsShrinkItMore) {
  const TestWeight w = rows8_weight(48, 400, DType::f32, 74);
  const Matrix x = with_outlier_features(16, 400, DType::bf16);
  for (const CpuTier tier : usable_tiers()) {
    std::vector<double> errors;
    for (const double threshold : {0.0, 6.0, 3.0, 1e-30}) {
      const Matrix y = int8_forward(tier, 1, x, w.view, threshold, nullptr, DType::f32);
      double error = 0, size = 0;
      for (int64_t i = 0; i < x.rows; ++i) {
        for (int64_t n = 0; n < w.view.out; ++n) {
          double want = 0;
          for (int64_t k = 0; k < x.cols; ++k) want += x.at(i, k) * w.at(n, k, DType::f32);
          error += (y.at(i, n) - want) * (y.at(i, n) - want);
          size += want * want;
        }
      }
      errors.push_back(std::sqrt(error / size));
    }
    EXPECT_LT(errors[0], 0.1);
    EXPECT_LT(errors[1], errors[0] / 5);
    EXPECT_LT(errors[2], errors[1]);
    EXPECT_LT(errors[3], 1e-6) << "every value is an outlier: nothing is quantized";
  }
}

TEST(LinearInt8, ZeroRowsGiveZerosAndANanOrInfIsNeverLost) {
  const TestWeight w = rows8_weight(20, 40, DType::f32, 75);
  for (const CpuTier tier : usable_tiers()) {
    for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
      Matrix x(4, 40, t);
      x.bytes.clear();
      for (int64_t i = 0; i < 160; ++i) {
        append(x.bytes, DType::f32, i < 40 ? 0 : i == 60 ? NAN : i == 100 ? kInf : 1);
      }
      Matrix wide(4, 40, DType::f32);
      wide.bytes = x.bytes;
      x.bytes.assign(static_cast<size_t>(160 * size_of(t)), 0);
      ThreadPool pool(1);
      Stream stream(pool);
      cpu_table(CpuTier::scalar).cast(stream, 4, 40, DType::f32, wide.data(), 40, t, x.data(), 40);
      for (const double threshold : {0.0, 6.0}) {
        const Matrix y = int8_forward(tier, 1, x, w.view, threshold, nullptr, DType::f32);
        for (int64_t n = 0; n < 20; ++n) {
          EXPECT_EQ(y.at(0, n), 0);
          EXPECT_TRUE(std::isnan(y.at(1, n)));
          EXPECT_FALSE(std::isfinite(y.at(2, n))) << threshold;
          EXPECT_TRUE(std::isfinite(y.at(3, n)));
        }
        const auto code = static_cast<const int8_t*>(w.view.codes)[0 * 40 + 20];
        EXPECT_EQ(y.at(2, 0) == (code > 0 ? kInf : -kInf), threshold > 0 && code != 0);
      }
    }
  }
}

TEST(LinearInt8, ARowHasTheSameBitsAloneInAnyBatchAndOnAnyThreads) {
  const TestWeight w = rows8_weight(150, 330, DType::f32, 76);
  for (const CpuTier tier : usable_tiers()) {
    for (const DType t : {DType::f32, DType::bf16}) {
      const Matrix x = with_outlier_features(tier == CpuTier::scalar ? 20 : 210, 330, t);
      const Matrix y = int8_forward(tier, 1, x, w.view, 3, nullptr, t);
      for (const int threads : {2, 3, 7}) {
        EXPECT_EQ(int8_forward(tier, threads, x, w.view, 3, nullptr, t).bytes, y.bytes);
      }
      for (const int64_t count : {1, 2, 5, 6, 7, 13}) {
        for (const int64_t first : {int64_t{0}, (x.rows - count) / 2, x.rows - count}) {
          Matrix part(count, 330, t);
          std::memcpy(part.data(), x.row(first), part.bytes.size());
          const Matrix alone = int8_forward(tier, 2, part, w.view, 3, nullptr, t);
          ASSERT_EQ(0, std::memcmp(alone.data(), y.row(first), alone.bytes.size()))
              << name_of(tier) << " rows " << first << " + " << count;
        }
      }
    }
  }
}

TEST(LinearInt8, TheVectorTiersGiveTheSameBits) {
  if (usable_tiers().size() < 3) GTEST_SKIP() << "skipped: this CPU has one vector tier at most";
  const TestWeight w = rows8_weight(90, 310, DType::f32, 77);
  for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
    const Matrix x = with_outlier_features(9, 310, t);
    EXPECT_EQ(int8_forward(CpuTier::avx2, 1, x, w.view, 3, nullptr, t).bytes,
              int8_forward(CpuTier::avx512, 1, x, w.view, 3, nullptr, t).bytes);
  }
}

// ── codes × any weight ───────────────────────────────────────────────────────────────────────────

void expect_codes_product(const TestWeight& w, int64_t m) {
  const int64_t in = w.view.in, out = w.view.out;
  const auto codes = random_bytes(m * (in + 3), 81);
  std::vector<float> scales;
  for (int64_t i = 0; i < m; ++i) scales.push_back(0.01f * static_cast<float>(i + 1));
  for (const CpuTier tier : usable_tiers()) {
    ThreadPool pool(2);
    Stream stream(pool);
    const KernelTable& k = cpu_table(tier);
    for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
      Matrix y = Matrix::random(m, out, t, 82, out + 2);
      const Matrix before = y;
      std::vector<uint8_t> scratch(static_cast<size_t>(k.linear_codes_scratch(stream, m, w.view)),
                                   0xff);
      k.linear_codes(stream, m, w.view, codes.data(), in + 3, scales.data(), t, y.data(), y.pitch,
                     scratch.data());
      double worst = 0, largest = 1e-30;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t n = 0; n < out; ++n) {
          double sum = 0;
          for (int64_t p = 0; p < in; ++p) {
            sum += codes[static_cast<size_t>(i * (in + 3) + p)] * w.at(n, p, DType::f32);
          }
          sum *= scales[static_cast<size_t>(i)];
          largest = std::max(largest, std::fabs(sum));
          worst = std::max(worst, std::fabs(sum - y.at(i, n)));
          ASSERT_FALSE(std::isnan(y.at(i, n)));
        }
        for (int64_t n = out; n < y.pitch; ++n) ASSERT_EQ(y.at(i, n), before.at(i, n));
      }
      EXPECT_LE(worst / largest, t == DType::f32   ? 2e-6
                                 : t == DType::f16 ? 0x1.1p-11
                                                   : 0x1.1p-8)
          << name_of(tier) << " " << w.name << " " << m << "x" << out << "x" << in;
    }
  }
}

TEST(LinearCodes, MatchTheFormulaWithEveryKindOfWeight) {
  for (const int64_t m : {0, 1, 2, 7, 13}) {
    for (const int64_t in : {1, 33, 64, 130}) {
      expect_codes_product(table4_weight(17, in, {.value_dtype = DType::bf16}, 83), m);
      expect_codes_product(rows8_weight(17, in, DType::f32, 84), m);
      expect_codes_product(dense_weight(17, in, DType::bf16, 85), m);
    }
    const FourBit panel{.layout = Layout::panel, .nested = true, .block2 = 16};
    expect_codes_product(table4_weight(40, 192, panel, 86), m);
  }
  expect_codes_product(table4_weight(9, 40, {.nested = true, .block2 = 4}, 87), 300);
}

}  // namespace
}  // namespace nibble::testing
