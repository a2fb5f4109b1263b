// Decoded weights: every tier gives the same bits, and they are those of the definition.
#include <gtest/gtest.h>

#include "base/text.h"
#include "kernels/device.h"
#include "tests/kernels/weight_cases.h"

namespace nibble::testing {
namespace {

Memory& memory() {
  static Memory all;
  return all;
}

struct Window {
  int64_t n0, n1, k0, k1;
};

void expect_decodes(const TestWeight& w, const Window& at) {
  for (const CpuTier tier : usable_tiers()) {
    for (const DType to : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
      const ::testing::ScopedTrace trace(
          __FILE__, __LINE__,
          cat(name_of(tier), " ", w.name, " ", w.view.out, "x", w.view.in, " block ", w.view.block,
              " rows ", at.n0, "-", at.n1, " columns ", at.k0, "-", at.k1, " to ", name_of(to)));
      const int64_t cols = at.k1 - at.k0, pitch = cols + 3;
      Matrix out = Matrix::random(at.n1 - at.n0, cols, to, 1, pitch);
      const Matrix before = out;
      cpu_table(tier).decode_tile(w.view, at.n0, at.n1, at.k0, at.k1, to, out.data(), pitch);
      for (int64_t n = at.n0; n < at.n1; ++n) {
        for (int64_t k = at.k0; k < at.k1; ++k) {
          ASSERT_EQ(out.at(n - at.n0, k - at.k0), w.at(n, k, to)) << n << "," << k;
        }
        for (int64_t k = cols; k < pitch; ++k) {
          ASSERT_EQ(out.at(n - at.n0, k), before.at(n - at.n0, k)) << "written beyond the tile";
        }
      }
    }
  }
}

void expect_decodes_windows(const TestWeight& w) {
  const int64_t n = w.view.out, k = w.view.in;
  expect_decodes(w, {0, n, 0, k});
  expect_decodes(w, {n / 2, n, k / 3, k});
  expect_decodes(w, {n - 1, n, k - 1, k});
  expect_decodes(w, {0, n, k / 2, k / 2 + 1});
}

TEST(DecodeTile, FlatBlocksMayCrossRowsOfAnyLength) {
  for (const int64_t k : {1, 7, 16, 33, 63, 64, 65, 80, 129, 130}) {
    expect_decodes_windows(table4_weight(19, k, {}, 3));
    expect_decodes_windows(table4_weight(5, k, {.block = 32, .value_dtype = DType::bf16}, 4));
  }
}

TEST(DecodeTile, FlatBlocksOfEverySizeAreDecoded) {
  for (const int64_t block : {32, 64, 128, 256, 512, 1024, 2048, 4096}) {
    expect_decodes_windows(table4_weight(17, 300, {.block = block}, 5));
    expect_decodes_windows(table4_weight(
        9, 512, {.block = block, .nested = true, .value_dtype = DType::bf16, .block2 = 4}, 6));
  }
}

TEST(DecodeTile, PanelsGiveTheSameValuesAsFlat) {
  for (const int64_t out : {1, 15, 16, 17, 40}) {
    for (const int64_t in : {64, 192, 512}) {
      for (const bool nested : {false, true}) {
        const DType value = nested ? DType::f16 : DType::bf16;
        const FourBit panel{.block = 64,
                            .layout = Layout::panel,
                            .nested = nested,
                            .value_dtype = value,
                            .block2 = 8};
        expect_decodes_windows(table4_weight(out, in, panel, 7));
      }
    }
  }
  expect_decodes_windows(table4_weight(33, 512, {.block = 256, .layout = Layout::panel}, 8));
}

TEST(DecodeTile, AbsmaxIsRoundedAfterTheProductAndAfterTheOffset) {
  for (const DType value : {DType::f32, DType::bf16, DType::f16}) {
    expect_decodes_windows(
        table4_weight(21, 320, {.nested = true, .value_dtype = value, .block2 = 7}, 9));
  }
}

TEST(DecodeTile, DenseRowsAreRoundedToTheComputeType) {
  for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t k : {1, 15, 16, 17, 130}) {
      expect_decodes_windows(dense_weight(7, k, t, 10, k + 5));
    }
  }
}

// A scale that is not finite makes the values of its block NaN or Inf, and only those.
TEST(DecodeTile, NonFiniteScalesStayInTheirBlock) {
  for (const Layout layout : {Layout::flat, Layout::panel}) {
    TestWeight w = table4_weight(32, 256, {.layout = layout, .value_dtype = DType::bf16}, 12);
    w.absmax[3] = NAN, w.absmax[40] = INFINITY, w.absmax[90] = -INFINITY;
    for (const DType to : {DType::f32, DType::bf16, DType::f16}) {
      Matrix plain(32, 256, to);
      cpu_table(CpuTier::scalar).decode_tile(w.view, 0, 32, 0, 256, to, plain.data(), 256);
      for (const CpuTier tier : usable_tiers()) {
        Matrix out(32, 256, to);
        cpu_table(tier).decode_tile(w.view, 0, 32, 0, 256, to, out.data(), 256);
        int64_t bad = 0;
        for (int64_t i = 0; i < 32 * 256; ++i) {
          const double a = plain.at(i / 256, i % 256), b = out.at(i / 256, i % 256);
          ASSERT_TRUE(a == b || (std::isnan(a) && std::isnan(b))) << name_of(tier) << " " << i;
          bad += std::isfinite(b) ? 0 : 1;
        }
        EXPECT_EQ(bad, 3 * 64);
      }
    }
  }
}

// So much that it is written past the caches; and what lies next to it, which is not.
TEST(DecodeTile, LargeOutputsEqualTheirRows) {
  for (const Layout layout : {Layout::flat, Layout::panel}) {
    for (const int64_t in : {4096, 4098}) {
      if (layout == Layout::panel && in % 64 != 0) continue;
      const int64_t out = 2100;
      const TestWeight w = table4_weight(out, in, {.layout = layout, .nested = true}, 13);
      for (const CpuTier tier : usable_tiers()) {
        if (tier == CpuTier::scalar) continue;
        for (const int64_t pitch : {in, in + 16}) {
          Tensor whole = Tensor::empty(memory(), {out, pitch}, DType::f32, Purpose::scratch);
          std::vector<float> row(static_cast<size_t>(in));
          cpu_table(tier).decode_tile(w.view, 0, out, 0, in, DType::f32, whole.raw(), pitch);
          for (int64_t n = 0; n < out; ++n) {
            cpu_table(tier).decode_tile(w.view, n, n + 1, 0, in, DType::f32, row.data(), in);
            const float* got = whole.data<float>() + n * pitch;
            ASSERT_EQ(std::memcmp(got, row.data(), row.size() * sizeof(float)), 0)
                << name_of(tier) << " in " << in << " row " << n;
          }
        }
      }
    }
  }
}

TEST(DecodeTile, RowsOfBytesAreTheCodeTimesAStepOfTheRow) {
  for (const DType value : {DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t k : {1, 7, 8, 15, 16, 17, 130}) {
      expect_decodes_windows(rows8_weight(7, k, value, 12, k + 3));
    }
  }
}

TEST(DecodeTile, TheScalarTableReadsFp64Weights) {
  const TestWeight w = dense_weight(3, 9, DType::f64, 11);
  Matrix out(3, 9, DType::f64);
  cpu_table(CpuTier::scalar).decode_tile(w.view, 0, 3, 0, 9, DType::f64, out.data(), 9);
  for (int64_t i = 0; i < 27; ++i) EXPECT_EQ(out.at(i / 9, i % 9), w.values[i]);
}

}  // namespace
}  // namespace nibble::testing
