// Products against the formula in fp64 and against bitsandbytes' cases; and the promise that a
// row's result has the same bits whatever stands beside it, however many threads there are.
#include <gtest/gtest.h>

#include <cstring>

#include "base/text.h"
#include "kernels/device.h"
#include "tests/kernels/weight_cases.h"
#include "tests/support/data.h"
#include "tests/support/safetensors_lite.h"

namespace nibble::testing {
namespace {

struct Bench {
  ThreadPool pool;
  Stream stream;
  const KernelTable& k;
  Bench(CpuTier tier, int threads) : pool(threads), stream(pool), k(cpu_table(tier)) {}

  std::vector<uint8_t> scratch(int64_t bytes) { return std::vector<uint8_t>(bytes, 0xff); }
  void fwd(const Matrix& x, const WeightView& w, Matrix& y, double alpha = 1, bool add = false) {
    auto s = scratch(k.linear_scratch(stream, x.rows, w, x.dtype));
    k.linear_fwd(stream, x.rows, w, x.dtype, x.data(), x.pitch, y.dtype, y.data(), y.pitch, alpha,
                 add, s.data());
  }
  void dx(const Matrix& dy, const WeightView& w, Matrix& d, double alpha = 1, bool add = false) {
    auto s = scratch(k.linear_scratch(stream, dy.rows, w, dy.dtype));
    k.linear_dx(stream, dy.rows, w, dy.dtype, dy.data(), dy.pitch, d.dtype, d.data(), d.pitch,
                alpha, add, s.data());
  }
  void dw(const Matrix& dy, const Matrix& x, Matrix& w, double alpha = 1) {
    auto s = scratch(k.linear_dw_scratch(stream, x.rows, dy.cols, x.cols, x.dtype));
    k.linear_dw(stream, x.rows, dy.cols, x.cols, x.dtype, dy.data(), dy.pitch, x.data(), x.pitch,
                alpha, w.data(), w.pitch, s.data());
  }
};

double tolerance(DType t) {
  return t == DType::bf16 ? 4e-3 : t == DType::f16 ? 5e-4 : t == DType::f32 ? 2e-6 : 1e-13;
}

// got (rows, cols) against want(r, c), relative to the largest.
template <class Want>
void expect_close(const Matrix& got, double allowed, const Want& want) {
  double worst = 0, largest = 1e-30;
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.cols; ++c) {
      const double truth = want(r, c), error = std::fabs(got.at(r, c) - truth);
      ASSERT_FALSE(std::isnan(error)) << r << "," << c;
      worst = std::max(worst, error);
      largest = std::max(largest, std::fabs(truth));
    }
  }
  EXPECT_LE(worst / largest, allowed);
}

// The columns between the matrix's width and its pitch still hold what they did.
void expect_margin(const Matrix& got, const Matrix& before) {
  for (int64_t r = 0; r + 1 < got.rows; ++r) {
    ASSERT_EQ(0, std::memcmp(got.row(r) + got.cols * size_of(got.dtype),
                             before.row(r) + got.cols * size_of(got.dtype),
                             (got.pitch - got.cols) * size_of(got.dtype)))
        << "row " << r << " written beyond its end";
  }
}

// All three products of one weight, with pitches, alpha and accumulation.
void expect_products(CpuTier tier, const TestWeight& w, int64_t m, DType t, DType y_dtype) {
  const int64_t out = w.view.out, in = w.view.in;
  const ::testing::ScopedTrace trace(
      __FILE__, __LINE__,
      cat(name_of(tier), " ", w.name, " m ", m, " ", out, "x", in, " block ", w.view.block, " ",
          name_of(t), " to ", name_of(y_dtype)));
  Bench bench(tier, 2);
  const Matrix x = Matrix::random(m, in, t, 21, in + 5);
  const Matrix dy = Matrix::random(m, out, t, 22, out + 2);
  for (const bool add : {false, true}) {
    const double alpha = add ? -0.37 : 1.5;
    Matrix y = Matrix::random(m, out, y_dtype, 23, out + 3);
    const Matrix y0 = y;
    bench.fwd(x, w.view, y, alpha, add);
    expect_close(y, tolerance(y_dtype), [&](int64_t i, int64_t n) {
      double sum = 0;
      for (int64_t k = 0; k < in; ++k) sum += x.at(i, k) * w.at(n, k, t);
      return alpha * sum + (add ? y0.at(i, n) : 0);
    });
    expect_margin(y, y0);
    Matrix d = Matrix::random(m, in, y_dtype, 24, in + 7);
    const Matrix d0 = d;
    bench.dx(dy, w.view, d, alpha, add);
    expect_close(d, tolerance(y_dtype), [&](int64_t i, int64_t k) {
      double sum = 0;
      for (int64_t n = 0; n < out; ++n) sum += dy.at(i, n) * w.at(n, k, t);
      return alpha * sum + (add ? d0.at(i, k) : 0);
    });
    expect_margin(d, d0);
  }
}

void expect_weight_gradient(CpuTier tier, int64_t m, int64_t out, int64_t in, DType t) {
  const ::testing::ScopedTrace trace(
      __FILE__, __LINE__, cat(name_of(tier), " m ", m, " ", out, "x", in, " ", name_of(t)));
  Bench bench(tier, 2);
  const Matrix x = Matrix::random(m, in, t, 31, in + 1), dy = Matrix::random(m, out, t, 32);
  Matrix w = Matrix::random(out, in, accumulator_of(t), 33, in + 4);
  const Matrix w0 = w;
  bench.dw(dy, x, w, 0.25);
  expect_close(w, t == DType::f64 ? 1e-13 : 2e-6, [&](int64_t n, int64_t k) {
    double sum = 0;
    for (int64_t i = 0; i < m; ++i) sum += dy.at(i, n) * x.at(i, k);
    return w0.at(n, k) + 0.25 * sum;
  });
  expect_margin(w, w0);
}

TEST(Linear, EveryWidthAndHeightMatchesTheFormula) {
  for (const CpuTier tier : usable_tiers()) {
    for (const int64_t m : {1, 2, 3, 5, 6, 7, 12, 13, 37}) {
      for (const int64_t in : {1, 15, 64, 65, 130}) {
        expect_products(tier, table4_weight(33, in, {}, 41), m, DType::f32, DType::f32);
      }
    }
    for (const int64_t out : {1, 7, 16, 31, 32, 48, 70}) {
      expect_products(tier, table4_weight(out, 96, {}, 42), 9, DType::f32, DType::f32);
    }
  }
}

TEST(Linear, ReductionsOfMoreThanAChunkMatchTheFormula) {
  for (const CpuTier tier : usable_tiers()) {
    expect_products(tier, table4_weight(40, 1100, {}, 43), 14, DType::f32, DType::f32);
    expect_products(tier, table4_weight(1090, 72, {}, 44), 3, DType::bf16, DType::bf16);
    expect_products(tier, dense_weight(530, 520, DType::f32, 45), 25, DType::f32, DType::f32);
  }
}

TEST(Linear, EveryFormatMatchesTheFormulaInBothComputeTypes) {
  for (const CpuTier tier : usable_tiers()) {
    for (const DType t : {DType::f32, DType::bf16}) {
      for (const DType y : {DType::f32, t}) {
        for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {
          expect_products(tier, dense_weight(37, 70, stored, 46, 80), 11, t, y);
          for (const Layout layout : {Layout::flat, Layout::panel}) {
            const FourBit f{.block = 64,
                            .layout = layout,
                            .nested = stored != DType::f32,
                            .value_dtype = stored,
                            .block2 = 16};
            expect_products(tier, table4_weight(41, 192, f, 47), 11, t, y);
          }
        }
      }
    }
  }
}

TEST(Linear, BlocksOfEverySizeMatchTheFormula) {
  for (const CpuTier tier : usable_tiers()) {
    for (const int64_t block : {32, 128, 512, 4096}) {
      expect_products(tier, table4_weight(23, 100, {.block = block}, 48), 5, DType::f32,
                      DType::f32);
    }
    expect_products(tier, table4_weight(50, 512, {.block = 256, .layout = Layout::panel}, 49), 5,
                    DType::f32, DType::f32);
  }
}

TEST(Linear, TheScalarTableComputesInFp64) {
  expect_products(CpuTier::scalar, dense_weight(19, 30, DType::f64, 50), 7, DType::f64, DType::f64);
  expect_weight_gradient(CpuTier::scalar, 9, 5, 6, DType::f64);
}

TEST(Linear, WideTablesHandFp64ToTheScalarOne) {
  for (const CpuTier tier : usable_tiers()) {
    expect_products(tier, dense_weight(9, 10, DType::f64, 51), 3, DType::f64, DType::f64);
    expect_weight_gradient(tier, 9, 5, 6, DType::f64);
  }
}

TEST(Linear, TheWeightGradientMatchesTheFormula) {
  for (const CpuTier tier : usable_tiers()) {
    for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
      for (const int64_t m : {1, 3, 64, 130, 600}) expect_weight_gradient(tier, m, 37, 45, t);
      for (const int64_t out : {1, 5, 16, 29}) expect_weight_gradient(tier, 20, out, 300, t);
      expect_weight_gradient(tier, 33, 270, 16, t);
    }
  }
}

TEST(Linear, NoRowsNoWorkAndAnEmptyReductionIsZero) {
  for (const CpuTier tier : usable_tiers()) {
    Bench bench(tier, 2);
    const TestWeight w = dense_weight(5, 4, DType::f32, 52);
    Matrix y = Matrix::random(3, 5, DType::f32, 53);
    const Matrix none(0, 4, DType::f32);
    Matrix nothing(0, 5, DType::f32);
    bench.fwd(none, w.view, nothing);
    WeightView empty = w.view;
    empty.in = 0;
    const Matrix x(3, 0, DType::f32, 1);
    bench.fwd(x, empty, y);
    for (int64_t i = 0; i < 15; ++i) EXPECT_EQ(y.at(i / 5, i % 5), 0);
  }
}

// ── the same bits ────────────────────────────────────────────────────────────────────────────────

Matrix forward(CpuTier tier, int threads, const Matrix& x, const WeightView& w, DType y_dtype) {
  Matrix y(x.rows, w.out, y_dtype);
  Bench(tier, threads).fwd(x, w, y);
  return y;
}

Matrix backward(CpuTier tier, int threads, const Matrix& dy, const WeightView& w) {
  Matrix dx(dy.rows, w.in, dy.dtype);
  Bench(tier, threads).dx(dy, w, dx);
  return dx;
}

Matrix some_rows(const Matrix& x, int64_t first, int64_t count) {
  Matrix part(count, x.cols, x.dtype, x.pitch);
  std::memcpy(part.data(), x.row(first), part.bytes.size());
  return part;
}

TEST(LinearBits, ARowDoesNotDependOnItsCompany) {
  for (const CpuTier tier : usable_tiers()) {
    for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
      const bool scalar = tier == CpuTier::scalar;
      const int64_t m = scalar ? 40 : 530;  // more than one block of rows
      const TestWeight w = table4_weight(scalar ? 70 : 320, 576, {.value_dtype = DType::bf16}, 61);
      const Matrix x = Matrix::random(m, w.view.in, t, 62);
      const Matrix dy = Matrix::random(m, w.view.out, t, 63);
      const Matrix y = forward(tier, 2, x, w.view, t), dx = backward(tier, 2, dy, w.view);
      for (const int64_t count : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 31}) {
        for (const int64_t first : {int64_t{0}, std::min(m / 2 + 1, m - count), m - count}) {
          const Matrix part = forward(tier, 1, some_rows(x, first, count), w.view, t);
          ASSERT_EQ(0, std::memcmp(part.data(), y.row(first), part.bytes.size()))
              << name_of(tier) << " rows " << first << " + " << count;
          const Matrix back = backward(tier, 1, some_rows(dy, first, count), w.view);
          ASSERT_EQ(0, std::memcmp(back.data(), dx.row(first), back.bytes.size()))
              << name_of(tier) << " dx rows " << first << " + " << count;
        }
      }
    }
  }
}

TEST(LinearBits, ThreadsDoNotChangeThem) {
  for (const CpuTier tier : usable_tiers()) {
    const TestWeight w = table4_weight(200, 640, {}, 64);
    for (const int64_t m : {1, 7, 150}) {
      const Matrix x = Matrix::random(m, 640, DType::f32, 65);
      const Matrix dy = Matrix::random(m, 200, DType::f32, 66);
      const Matrix y = forward(tier, 1, x, w.view, DType::f32), dx = backward(tier, 1, dy, w.view);
      Matrix dw(200, 640, DType::f32);
      Bench(tier, 1).dw(dy, x, dw);
      for (const int threads : {2, 3, 5, 16, 33}) {
        EXPECT_EQ(forward(tier, threads, x, w.view, DType::f32).bytes, y.bytes) << threads;
        EXPECT_EQ(backward(tier, threads, dy, w.view).bytes, dx.bytes) << threads;
        Matrix again(200, 640, DType::f32);
        Bench(tier, threads).dw(dy, x, again);
        EXPECT_EQ(again.bytes, dw.bytes) << threads;
      }
    }
  }
}

// Columns of a wider output, as q|k|v has them.
TEST(LinearBits, AColumnDoesNotDependOnItsNeighbours) {
  for (const CpuTier tier : usable_tiers()) {
    const TestWeight w = dense_weight(100, 128, DType::bf16, 67);
    const Matrix x = Matrix::random(20, 128, DType::bf16, 68);
    const Matrix y = forward(tier, 2, x, w.view, DType::bf16);
    for (const int64_t first : {1, 13, 37, 64}) {
      WeightView rows = w.view;
      rows.out = 35;
      rows.codes = w.codes.data() + first * 128 * 2;
      const Matrix part = forward(tier, 1, x, rows, DType::bf16);
      for (int64_t i = 0; i < 20; ++i) {
        ASSERT_EQ(0, std::memcmp(part.row(i), y.row(i) + first * 2, 35 * 2))
            << first << " row " << i;
      }
    }
  }
}

TEST(LinearBits, BothLayoutsOfACodeGiveTheSame) {
  for (const CpuTier tier : usable_tiers()) {
    for (const bool nested : {false, true}) {
      FourBit f{.nested = nested, .value_dtype = DType::bf16, .block2 = 16};
      const TestWeight flat = table4_weight(77, 256, f, 69);
      f.layout = Layout::panel;
      const TestWeight panel = table4_weight(77, 256, f, 69);
      ASSERT_EQ(flat.values, panel.values);
      for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
        const Matrix x = Matrix::random(15, 256, t, 70), dy = Matrix::random(15, 77, t, 71);
        EXPECT_EQ(forward(tier, 2, x, flat.view, t).bytes,
                  forward(tier, 2, x, panel.view, t).bytes);
        EXPECT_EQ(backward(tier, 2, dy, flat.view).bytes, backward(tier, 2, dy, panel.view).bytes);
      }
    }
  }
}

// A 4-bit weight and its decoded twin are one weight to the products.
TEST(LinearBits, TheDecodedTwinGivesTheSame) {
  for (const CpuTier tier : usable_tiers()) {
    const TestWeight w = table4_weight(45, 130, {.nested = true, .value_dtype = DType::bf16}, 72);
    Matrix decoded(45, 130, DType::bf16);
    cpu_table(tier).decode_tile(w.view, 0, 45, 0, 130, DType::bf16, decoded.data(), 130);
    WeightView dense;
    dense.out = 45, dense.in = 130, dense.pitch = 130, dense.dtype = DType::bf16;
    dense.codes = decoded.data();
    for (const DType t : {DType::f32, DType::bf16, DType::f16}) {
      const Matrix x = Matrix::random(8, 130, t, 73), dy = Matrix::random(8, 45, t, 74);
      EXPECT_EQ(forward(tier, 1, x, w.view, t).bytes, forward(tier, 1, x, dense, t).bytes);
      EXPECT_EQ(backward(tier, 1, dy, w.view).bytes, backward(tier, 1, dy, dense).bytes);
    }
  }
}

// ── vectors made by another program ──────────────────────────────────────────────────────────────

struct Golden {
  std::map<std::string, Tensor> t;
  WeightView w;

  Golden(const std::string& path, bool fp4, int64_t out, int64_t in, int64_t block, DType dtype)
      : t(read_safetensors(path)) {
    const float fp4_values[8] = {0,        .0625f / 12, 8.f / 12, 1,
                                 4.f / 12, 6.f / 12,    2.f / 12, 3.f / 12};
    w.kind = WeightKind::table4;
    w.out = out, w.in = in, w.block = block, w.value_dtype = dtype;
    for (int i = 0; i < 16; ++i) {
      w.table[i] = fp4 ? (i < 8 ? fp4_values[i] : -fp4_values[i - 8]) : kNf4[i];
    }
    w.codes = t.at("packed").raw();
    w.absmax = t.at("absmax").data<float>();
  }
  Matrix matrix(const std::string& name, DType dtype) const {
    const Tensor& tensor = t.at(name);
    Matrix m(tensor.rows(), tensor.cols(), dtype);
    check_eq(tensor.bytes(), static_cast<int64_t>(m.bytes.size()), name);
    std::memcpy(m.data(), tensor.raw(), m.bytes.size());
    return m;
  }
};

Matrix rounded_to(const Matrix& x, DType t) {
  Matrix y(x.rows, x.cols, t);
  y.bytes.clear();
  for (int64_t i = 0; i < x.rows * x.cols; ++i) {
    append(y.bytes, t, round_to(t, x.at(i / x.cols, i % x.cols)));
  }
  return y;
}

// The largest error in terms of the largest value: one rounding of the result, in 16 bits those of
// the weight (to the type it was quantized from, then to f16) and of x too, which the truth has
// not.
double allowed_of(DType t, DType made) {
  if (t == DType::f16) return 6e-4 + (made == DType::bf16 ? 2e-3 : 3e-4);
  return t == DType::bf16 ? 6e-3 : 2e-6;
}

// In the type the case was made in, and in f16.
void expect_golden(const std::string& path, const nlohmann::json& c) {
  const std::string file = c.at("file").get<std::string>();
  const DType made = file.find("bfloat16") != std::string::npos ? DType::bf16 : DType::f32;
  const auto out = c.at("N").get<int64_t>(), in = c.at("K").get<int64_t>();
  Golden g(path + "/" + file + ".safetensors", c.at("type") == "fp4", out, in,
           c.at("blocksize").get<int64_t>(), made);
  for (const DType t : {made, DType::f16}) {
    const Matrix bias = rounded_to(g.matrix("bias", made), t);
    const double allowed = allowed_of(t, made);
    for (const CpuTier tier : usable_tiers()) {
      Bench bench(tier, 2);
      for (const auto& [rows, errors] : c.at("M").items()) {
        const ::testing::ScopedTrace trace(
            __FILE__, __LINE__, cat(name_of(tier), " ", name_of(t), " ", file, " ", rows));
        const std::string row = cat("m", rows, ".");
        const Matrix y64 = g.matrix(row + "y_fp64", DType::f64);
        const Matrix dx64 = g.matrix(row + "dx_fp64", DType::f64);
        Matrix y(y64.rows, out, t), dx(y64.rows, in, t);
        for (int64_t i = 0; i < y.rows; ++i) {
          std::memcpy(y.bytes.data() + i * out * size_of(t), bias.data(), bias.bytes.size());
        }
        bench.fwd(rounded_to(g.matrix(row + "x", made), t), g.w, y, 1, true);
        expect_close(y, allowed, [&](int64_t r, int64_t n) { return y64.at(r, n); });
        bench.dx(rounded_to(g.matrix(row + "dy", made), t), g.w, dx);
        expect_close(dx, allowed, [&](int64_t r, int64_t k) { return dx64.at(r, k); });
      }
    }
  }
}

TEST(LinearGolden, FourBitProductsMatchTheRecordedTruth) {
  NIBBLE_REQUIRE_DATA(path, "golden/quantization/matmul4");
  std::ifstream in(path + "/cases.json");
  const nlohmann::json all = nlohmann::json::parse(in);
  for (const auto& c : all.at("cases")) expect_golden(path, c);
}

}  // namespace
}  // namespace nibble::testing
