// The products, one test per cell: every kind of weight × the type of x × the type of the result ×
// forward or dx × whether it is added × every tier, against the formula in fp64. A cell is its
// name: Products/Cell.MatchesTheFormula/avx2_panel_f16_nested_x_bf16_y_f32_dx_add.
#include <gtest/gtest.h>

#include "base/text.h"
#include "tests/kernels/block_cases.h"
#include "tests/kernels/weight_cases.h"

namespace nibble::testing {
namespace {

enum class Row : uint8_t { fwd, dx };

struct WeightKindCase {
  std::string name;
  TestWeight (*make)(const WeightKindCase&);
  DType stored = DType::f32;  // dense: of the values; table4: of the rounded value
  Layout layout = Layout::flat;
  bool nested = false;
  BlockCode code = BlockCode::q8_0;
};

TestWeight make_dense(const WeightKindCase& c) { return dense_weight(37, 70, c.stored, 46, 80); }

TestWeight make_table4(const WeightKindCase& c) {
  return table4_weight(
      41, 192,
      {.block = 64, .layout = c.layout, .nested = c.nested, .value_dtype = c.stored, .block2 = 16},
      47);
}

TestWeight make_blocks(const WeightKindCase& c) { return block_weight(35, 2, c.code, 48); }

std::vector<WeightKindCase> weight_kinds() {
  std::vector<WeightKindCase> all;
  for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
    all.push_back({cat("dense_", name_of(t)), make_dense, t});
  }
  for (const Layout layout : {Layout::flat, Layout::panel}) {
    for (const bool nested : {false, true}) {
      for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
        all.push_back(
            {cat(layout == Layout::flat ? "flat_" : "panel_", name_of(t), nested ? "_nested" : ""),
             make_table4, t, layout, nested});
      }
    }
  }
  for (const BlockCase& b : block_cases()) {
    all.push_back({b.name, make_blocks, DType::f32, Layout::flat, false, b.code});
  }
  return all;
}

struct CellCase {
  CpuTier tier;
  WeightKindCase weight;
  DType x, y;
  Row row;
  bool add;

  std::string name() const {
    return cat(name_of(tier), "_", weight.name, "_x_", name_of(x), "_y_", name_of(y),
               row == Row::fwd ? "_fwd" : "_dx", add ? "_add" : "");
  }
};

// So that a failing cell prints its name, not its bytes.
void PrintTo(const CellCase& c, std::ostream* out) { *out << c.name(); }

std::vector<CellCase> cells() {
  std::vector<CellCase> all;
  for (const CpuTier tier : usable_tiers()) {
    for (const WeightKindCase& w : weight_kinds()) {
      for (const DType x : {DType::f32, DType::bf16, DType::f16}) {
        std::vector<DType> results{DType::f32};
        if (x != DType::f32) results.push_back(x);
        for (const DType y : results) {
          for (const Row row : {Row::fwd, Row::dx}) {
            for (const bool add : {false, true}) all.push_back({tier, w, x, y, row, add});
          }
        }
      }
    }
  }
  return all;
}

// One rounding of the result, and fp32 sums.
double tolerance(DType y) { return y == DType::bf16 ? 4e-3 : y == DType::f16 ? 5e-4 : 2e-6; }

struct Cell : ::testing::TestWithParam<CellCase> {};

TEST_P(Cell, MatchesTheFormula) {
  const CellCase& c = GetParam();
  const TestWeight w = c.weight.make(c.weight);
  const bool fwd = c.row == Row::fwd;
  const int64_t m = 11, from = fwd ? w.view.in : w.view.out, to = fwd ? w.view.out : w.view.in;
  const Matrix x = Matrix::random(m, from, c.x, 21, from + 5);
  Matrix y = Matrix::random(m, to, c.y, 23, to + 3);
  const Matrix before = y;
  const double alpha = c.add ? -0.37 : 1.5;

  ThreadPool pool(2);
  Stream stream(pool);
  const KernelTable& k = cpu_table(c.tier);
  std::vector<uint8_t> scratch(static_cast<size_t>(k.linear_scratch(stream, m, w.view, c.x) + 1),
                               0xff);
  const auto product = fwd ? k.linear_fwd : k.linear_dx;
  product(stream, m, w.view, c.x, x.data(), x.pitch, c.y, y.data(), y.pitch, alpha, c.add,
          scratch.data());

  double worst = 0, largest = 0;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < to; ++j) {
      double sum = 0;
      for (int64_t n = 0; n < from; ++n) {
        sum += x.at(i, n) * (fwd ? w.at(j, n, c.x) : w.at(n, j, c.x));
      }
      const double want = alpha * sum + (c.add ? before.at(i, j) : 0);
      ASSERT_TRUE(std::isfinite(y.at(i, j))) << i << "," << j;
      worst = std::max(worst, std::fabs(y.at(i, j) - want));
      largest = std::max(largest, std::fabs(want));
    }
    for (int64_t j = to; i + 1 < m && j < y.pitch; ++j) {
      ASSERT_EQ(y.at(i, j), before.at(i, j)) << "row " << i << " written beyond its end";
    }
  }
  EXPECT_LE(worst / largest, tolerance(c.y));
}

INSTANTIATE_TEST_SUITE_P(Products, Cell, ::testing::ValuesIn(cells()),
                         [](const auto& info) { return info.param.name(); });

// x of every f16 there is times one number, scaled: what is subnormal, too large or a tie goes into
// memory as the scalar row, one rounding from fp64, puts it there.
TEST(ProductsInF16, ResultsAreRoundedOnceWhateverTheirSize) {
  Matrix x(65536, 1, DType::f16);
  for (int64_t i = 0; i < x.rows; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    std::memcpy(x.bytes.data() + 2 * i, &bits, 2);
  }
  ThreadPool pool(2);
  Stream stream(pool);
  for (const double factor : {1.0, 0.333251953125, 0x1p-9, 0x1p-14, 1.5e-5, 900.0}) {
    TestWeight w;
    append(w.codes, DType::f16, round_to(DType::f16, factor));
    w.view.out = w.view.in = w.view.pitch = 1;
    w.view.dtype = DType::f16;
    w.view.codes = w.codes.data();
    std::vector<Matrix> results;
    for (const CpuTier tier : usable_tiers()) {
      Matrix y(x.rows, 1, DType::f16);
      const KernelTable& k = cpu_table(tier);
      std::vector<uint8_t> scratch(
          static_cast<size_t>(k.linear_scratch(stream, x.rows, w.view, DType::f16) + 1));
      k.linear_fwd(stream, x.rows, w.view, DType::f16, x.data(), 1, DType::f16, y.data(), 1, 1,
                   false, scratch.data());
      results.push_back(y);
    }
    for (size_t t = 1; t < results.size(); ++t) {
      for (int64_t i = 0; i < x.rows; ++i) {
        if ((i & 0x7fff) > 0x7c00) continue;  // NaN: which one is not said
        ASSERT_EQ(std::memcmp(results[t].row(i), results[0].row(i), 2), 0)
            << factor << " × f16 of bits " << i;
      }
    }
  }
}

}  // namespace
}  // namespace nibble::testing
