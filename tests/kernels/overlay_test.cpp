// The vector tiers' rows against the scalar ones, at every width from 1 to 70, on windows of wider
// matrices, without a step over their edges; and the exact promises: fixed sums, equal bits.
#include <gmock/gmock.h>

#include <limits>

#include "tests/kernels/array.h"

namespace nibble::testing {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// A (rows, cols) window at an odd offset of a wider matrix; what lies around it is compared too.
struct Window {
  int64_t rows, cols, pitch;
  Array all;

  Window(DType t, int64_t r, int64_t c, uint64_t seed, double scale = 1)
      : rows(r), cols(c), pitch(c + 3), all(Array::random(t, r * (c + 3) + 1, seed, scale)) {}
  void* data() { return all.at(1); }
  double at(int64_t r, int64_t c) const { return all[1 + r * pitch + c]; }
};

// Largest difference, of elements larger than 1 the relative one; NaN and inf must be the same.
double apart(const Array& a, const Array& b) {
  double worst = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (a[i] == b[i]) continue;
    const double d = std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
    worst = std::isnan(d) ? kInf : std::max(worst, d);
  }
  return worst;
}

// A step apart when both round the same value from different sides, and fp32 sums.
double near(DType t) { return t == DType::bf16 ? 0x1p-7 : t == DType::f16 ? 0x1p-10 : 1e-6; }

struct Overlay : ::testing::TestWithParam<CpuTier> {
  Device fast = Device::cpu(2, GetParam()), plain = Device::cpu(1, CpuTier::scalar);
  std::vector<int64_t> widths;

  Overlay() {
    for (int64_t c = 1; c <= 70; ++c) widths.push_back(c);
    for (int64_t c : {128, 257, 1000, 5000, 40000}) widths.push_back(c);
  }
  // run(device, dtype, cols) gives its outputs; they must be near each other.
  template <class Run>
  void compare(const Run& run, double looser = 1) {
    for (DType t : {DType::f32, DType::bf16, DType::f16}) {
      for (int64_t cols : widths) {
        const std::vector<Array> a = run(fast, t, cols), b = run(plain, t, cols);
        for (size_t i = 0; i < a.size(); ++i) {
          ASSERT_LE(apart(a[i], b[i]), near(a[i].dtype()) * looser)
              << name_of(t) << " cols " << cols << " output " << i;
        }
      }
    }
  }
};

TEST_P(Overlay, GatesFollowTheScalarRow) {
  compare([](Device& d, DType t, int64_t cols) {
    Window gate(t, 3, cols, 1, 3), up(t, 3, cols, 2), out(t, 3, cols, 3), dy(t, 3, cols, 4);
    Window dgate(t, 3, cols, 5), dup(t, 3, cols, 6);
    d.kernels().gated_fwd(d.stream(), Activation::silu, 3, cols, t, gate.data(), gate.pitch,
                          up.data(), up.pitch, out.data(), out.pitch);
    d.kernels().gated_bwd(d.stream(), Activation::silu, 3, cols, t, gate.data(), gate.pitch,
                          up.data(), up.pitch, dy.data(), dy.pitch, dgate.data(), dgate.pitch,
                          dup.data(), dup.pitch);
    return std::vector<Array>{out.all, dgate.all, dup.all};
  });
}

TEST_P(Overlay, ASiluOfHugeGatesIsTheGateOrZero) {
  Array gate(DType::f32, {-1e30, -200, -104, -88, 0, 88, 200, 1e30});
  Array up(DType::f32, std::vector<double>(8, 1.0)), out = Array::zeros(DType::f32, 8);
  fast.kernels().gated_fwd(fast.stream(), Activation::silu, 1, 8, DType::f32, gate.raw(), 8,
                           up.raw(), 8, out.raw(), 8);
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(out[i], 0, 1e-36) << gate[i];
  for (int i = 5; i < 8; ++i) EXPECT_EQ(out[i], gate[i]);
}

TEST_P(Overlay, RmsNormFollowsTheScalarRow) {
  compare(
      [](Device& d, DType t, int64_t cols) {
        Window x(t, 5, cols, 1, 2), y(t, 5, cols, 2), dy(t, 5, cols, 3), dx(t, 5, cols, 4);
        Array w = Array::random(DType::f32, cols, 5), dw = Array::random(DType::f32, cols, 6);
        Array rstd = Array::zeros(DType::f32, 5);
        d.kernels().rmsnorm_fwd(d.stream(), 5, 1, cols, t, x.data(), x.pitch, w.raw(), 0, 0, 1e-5,
                                y.data(), y.pitch, rstd.raw());
        d.kernels().rmsnorm_bwd(d.stream(), 5, 1, cols, t, x.data(), x.pitch, w.raw(), 0, 0,
                                rstd.raw(), dy.data(), dy.pitch, dx.data(), dx.pitch, dw.raw());
        return std::vector<Array>{y.all, rstd, dx.all, dw};
      },
      2);
}

TEST_P(Overlay, ActivationsFollowTheScalarRow) {
  for (const Activation a :
       {Activation::gelu, Activation::gelu_tanh, Activation::relu, Activation::relu2}) {
    compare(
        [a](Device& d, DType t, int64_t cols) {
          Window x(t, 3, cols, 1, 3), up(t, 3, cols, 2), dy(t, 3, cols, 4);
          Window out(t, 3, cols, 3), dx(t, 3, cols, 5), dup(t, 3, cols, 6), gated(t, 3, cols, 7);
          Window dgate(t, 3, cols, 8);
          const KernelTable& k = d.kernels();
          k.activation_fwd(d.stream(), a, 3, cols, t, x.data(), x.pitch, out.data(), out.pitch);
          k.activation_bwd(d.stream(), a, 3, cols, t, x.data(), x.pitch, dy.data(), dy.pitch,
                           dx.data(), dx.pitch);
          k.gated_fwd(d.stream(), a, 3, cols, t, x.data(), x.pitch, up.data(), up.pitch,
                      gated.data(), gated.pitch);
          k.gated_bwd(d.stream(), a, 3, cols, t, x.data(), x.pitch, up.data(), up.pitch, dy.data(),
                      dy.pitch, dgate.data(), dgate.pitch, dup.data(), dup.pitch);
          return std::vector<Array>{out.all, dx.all, gated.all, dgate.all, dup.all};
        },
        2);
  }
}

TEST_P(Overlay, GroupedNormsFollowTheScalarRows) {
  compare(
      [](Device& d, DType t, int64_t width) {
        const int64_t rows = 3, groups = width > 300 ? 2 : 4, cols = groups * width;
        const KernelTable& k = d.kernels();
        std::vector<Array> all;
        for (const int64_t ldw : {int64_t{0}, width}) {
          Window x(t, rows, cols, 1, 2), y(t, rows, cols, 2), dy(t, rows, cols, 3);
          Window dx(t, rows, cols, 4), z(t, rows, cols, 5), dz(t, rows, cols, 6);
          const int64_t weights = ldw == 0 ? width : cols;
          Array w = Array::random(DType::f32, weights, 7),
                b = Array::random(DType::f32, weights, 8);
          Array dw = b, dv = b, db = w;
          Array rstd = Array::zeros(DType::f32, rows * groups), mean = rstd, scale = rstd;
          k.rmsnorm_fwd(d.stream(), rows, groups, width, t, x.data(), x.pitch, w.raw(), ldw, 1,
                        1e-3, y.data(), y.pitch, rstd.raw());
          k.rmsnorm_bwd(d.stream(), rows, groups, width, t, x.data(), x.pitch, w.raw(), ldw, 1,
                        rstd.raw(), dy.data(), dy.pitch, dx.data(), dx.pitch, dw.raw());
          // Of two numbers the deviation is their difference: an eps that one rounding cannot move.
          k.layernorm_fwd(d.stream(), rows, groups, width, t, x.data(), x.pitch, w.raw(), b.raw(),
                          ldw, 0.1, z.data(), z.pitch, mean.raw(), scale.raw());
          k.layernorm_bwd(d.stream(), rows, groups, width, t, x.data(), x.pitch, w.raw(), ldw,
                          mean.raw(), scale.raw(), dy.data(), dy.pitch, dz.data(), dz.pitch,
                          dv.raw(), db.raw());
          for (const Array& a : {y.all, rstd, dx.all, dw, z.all, mean, scale, dz.all, dv, db}) {
            all.push_back(a);
          }
        }
        return all;
      },
      4);
}

TEST_P(Overlay, RopeFollowsTheScalarRowInPlaceToo) {
  compare([](Device& d, DType t, int64_t half) {
    if (half > 300) half = 300;
    const int64_t dim = 2 * half + 5, heads = 2;
    Window x(t, 3, heads * dim, 1), y(t, 3, heads * dim, 2);
    Array cos = Array::random(DType::f32, 3 * half, 3, 0.5);
    Array sin = Array::random(DType::f32, 3 * half, 4, 0.5);
    std::vector<Array> all;
    for (bool neighbours : {false, true}) {
      for (bool inverse : {false, true}) {
        d.kernels().rope(d.stream(), 3, heads, dim, 2 * half, neighbours, t, x.data(), x.pitch,
                         cos.raw(), sin.raw(), inverse, y.data(), y.pitch);
        all.push_back(y.all);
      }
      d.kernels().rope(d.stream(), 3, heads, dim, 2 * half, neighbours, t, x.data(), x.pitch,
                       cos.raw(), sin.raw(), false, x.data(), x.pitch);
      all.push_back(x.all);
    }
    return all;
  });
}

TEST_P(Overlay, CastAddAndAccumulateHaveTheBitsOfTheScalarRows) {
  for (DType from : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
    for (DType to : {DType::f32, DType::bf16, DType::f16}) {
      for (int64_t cols : widths) {
        const auto run = [&](Device& d) {
          Window x(from, 3, cols, 1), y(to, 3, cols, 2);
          x.all.set(1, std::nan("")), x.all.set(x.all.size() - 1, kInf);
          d.kernels().cast(d.stream(), 3, cols, from, x.data(), x.pitch, to, y.data(), y.pitch);
          return y.all;
        };
        ASSERT_EQ(run(fast).bytes(), run(plain).bytes()) << name_of(from) << " " << cols;
        if (from == DType::f64) continue;
        const auto sums = [&](Device& d) {
          Window a(from, 3, cols, 1), b(from, 3, cols, 2), c(from, 3, cols, 3), y(to, 3, cols, 4);
          d.kernels().add(d.stream(), 3, cols, from, a.data(), a.pitch, b.data(), b.pitch, c.data(),
                          c.pitch);
          d.kernels().accumulate(d.stream(), 3 * cols, from, a.data(), to, y.data());
          return std::pair(c.all.bytes(), y.all.bytes());
        };
        ASSERT_EQ(sums(fast), sums(plain)) << name_of(from) << " " << name_of(to) << " " << cols;
      }
    }
  }
}

// Every f16, every border between two of them and the floats beside it: ties, subnormals, what is
// too large.
TEST_P(Overlay, HalvesAreRoundedAsTheScalarRowRoundsThem) {
  std::vector<double> values;
  for (uint32_t h = 0; h < 0x7c00; ++h) {
    const float x = widen(f16{static_cast<uint16_t>(h)});
    const float above = h == 0x7bff ? 65536.0f : widen(f16{static_cast<uint16_t>(h + 1)});
    const float border = (x + above) / 2;
    for (const float y : {x, std::nextafter(border, 0.0f), border, std::nextafter(border, 1e9f)}) {
      values.push_back(y), values.push_back(-y);
    }
  }
  for (const double x : {1e-45, 1e-8, 7e4, 3e38, kInf}) values.push_back(x), values.push_back(-x);
  const Array x(DType::f32, values);
  const auto run = [&](Device& d) {
    Array y = Array::zeros(DType::f16, x.size());
    d.kernels().cast(d.stream(), 1, x.size(), DType::f32, x.raw(), x.size(), DType::f16, y.raw(),
                     x.size());
    return y;
  };
  const Array fast_halves = run(fast);
  ASSERT_EQ(fast_halves.bytes(), run(plain).bytes());
  for (int64_t i = 0; i < 0x7c00; ++i) ASSERT_EQ(fast_halves[8 * i], values[8 * i]) << i;
}

TEST_P(Overlay, CrossEntropyFollowsTheScalarRow) {
  widths.push_back(151936);
  for (int64_t vocab : widths) {
    const auto run = [&](Device& d) {
      Window logits(DType::f32, 4, vocab, 1, 5);
      const std::vector<int32_t> labels{0, static_cast<int32_t>(vocab - 1), -100,
                                        static_cast<int32_t>(vocab / 2)};
      Array nll = Array::zeros(DType::f32, 4), lse = nll;
      Array dnll(DType::f32, {1, 0.5, 2, -1});
      d.kernels().cross_entropy_fwd(d.stream(), 4, vocab, DType::f32, logits.data(), logits.pitch,
                                    labels.data(), nll.raw(), lse.raw());
      d.kernels().cross_entropy_bwd(d.stream(), 4, vocab, DType::f32, logits.data(), logits.pitch,
                                    labels.data(), lse.raw(), dnll.raw());
      return std::vector<Array>{nll, lse, logits.all};
    };
    const std::vector<Array> a = run(fast), b = run(plain);
    for (size_t i = 0; i < a.size(); ++i) ASSERT_LE(apart(a[i], b[i]), 1e-6) << vocab << " " << i;
  }
}

TEST_P(Overlay, CrossEntropyHearsANan) {
  Array logits = Array::random(DType::f32, 100, 1), nll = Array::zeros(DType::f32, 1), lse = nll;
  logits.set(37, std::nan(""));
  const int32_t label = 5;
  fast.kernels().cross_entropy_fwd(fast.stream(), 1, 100, DType::f32, logits.raw(), 100, &label,
                                   nll.raw(), lse.raw());
  EXPECT_TRUE(std::isnan(nll[0]) && std::isnan(lse[0]));
}

// Where a vector begins in a row, and whether a mask ends it, is no part of an element's value.
TEST_P(Overlay, NeitherPlaceNorPitchChangesABit) {
  const int64_t cols = 3 * 16 + 5;
  for (const Activation a : {Activation::silu, Activation::gelu, Activation::gelu_tanh}) {
    const Array x = Array::random(DType::f32, cols, 1, 3);
    std::vector<double> whole(cols), single(cols);
    for (int64_t c = 0; c < cols; ++c) {
      Array one(DType::f32, {x[c]}), y = Array::zeros(DType::f32, 1);
      fast.kernels().activation_fwd(fast.stream(), a, 1, 1, DType::f32, one.raw(), 1, y.raw(), 1);
      single[static_cast<size_t>(c)] = y[0];
    }
    Array y = Array::zeros(DType::f32, cols);
    fast.kernels().activation_fwd(fast.stream(), a, 1, cols, DType::f32, x.raw(), cols, y.raw(),
                                  cols);
    for (int64_t c = 0; c < cols; ++c) whole[static_cast<size_t>(c)] = y[c];
    EXPECT_EQ(whole, single);
  }
}

TEST_P(Overlay, NeitherCompanyNorThreadsChangeABit) {
  const int64_t rows = 37, cols = 515;
  const auto run = [&](int threads, int64_t begin, int64_t end) {
    Device d = Device::cpu(threads, GetParam());
    Array x = Array::random(DType::f32, rows * cols, 1), y = Array::zeros(DType::f32, rows * cols);
    Array w = Array::random(DType::f32, cols, 2), rstd = Array::zeros(DType::f32, rows);
    Array nll = rstd, lse = rstd, mean = rstd, scale = rstd, z = y, g = y;
    const std::vector<int32_t> labels(rows, 3);
    d.kernels().rmsnorm_fwd(d.stream(), end - begin, 1, cols, DType::f32, x.at(begin * cols), cols,
                            w.raw(), 0, 0, 1e-6, y.at(begin * cols), cols, rstd.at(begin));
    d.kernels().cross_entropy_fwd(d.stream(), end - begin, cols, DType::f32, x.at(begin * cols),
                                  cols, labels.data(), nll.at(begin), lse.at(begin));
    d.kernels().layernorm_fwd(d.stream(), end - begin, 1, cols, DType::f32, x.at(begin * cols),
                              cols, w.raw(), nullptr, 0, 1e-6, z.at(begin * cols), cols,
                              mean.at(begin), scale.at(begin));
    d.kernels().gated_fwd(d.stream(), Activation::gelu_tanh, end - begin, cols, DType::f32,
                          x.at(begin * cols), cols, y.at(begin * cols), cols, g.at(begin * cols),
                          cols);
    d.kernels().shape_logits(d.stream(), {1, 2}, end - begin, cols, DType::f32, x.at(begin * cols),
                             cols);
    std::vector<double> row{rstd[20], nll[20], lse[20], mean[20], scale[20]};
    for (int64_t c = 20 * cols; c < 21 * cols; ++c) {
      for (const Array* a : {&x, &y, &z, &g}) row.push_back((*a)[c]);
    }
    return row;
  };
  const std::vector<double> all = run(1, 0, rows);
  EXPECT_EQ(run(2, 0, rows), all);
  EXPECT_EQ(run(3, 0, rows), all);
  EXPECT_EQ(run(2, 20, 21), all);
}

std::vector<CpuTier> vector_tiers() {
  std::vector<CpuTier> all;
  const CpuFeatures& f = cpu_features();
  if (f.avx2 && f.fma) all.push_back(CpuTier::avx2);
  if (f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq) all.push_back(CpuTier::avx512);
  return all;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Overlay);
INSTANTIATE_TEST_SUITE_P(Tiers, Overlay, ::testing::ValuesIn(vector_tiers()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace nibble::testing
