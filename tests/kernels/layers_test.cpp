// Normalisation, rotary positions, the gated MLP and the loss: forward against the formula in
// double, backward against central differences of that formula.
#include <cmath>

#include "tests/kernels/array.h"

namespace nibble::testing {
namespace {

using Doubles = std::vector<double>;

Doubles doubles(const Array& a) {
  Doubles out;
  for (int64_t i = 0; i < a.size(); ++i) out.push_back(a[i]);
  return out;
}

// d(sum of weights × f(x)) / dx by central differences.
template <class F>
Doubles gradient(Doubles x, const Doubles& weights, const F& f) {
  const auto value = [&] {
    const Doubles y = f(x);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * weights[i];
    return sum;
  };
  Doubles out(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double old = x[i], h = 1e-5;
    x[i] = old + h;
    const double up = value();
    x[i] = old - h;
    out[i] = (up - value()) / (2 * h);
    x[i] = old;
  }
  return out;
}

void expect_gradient(const Array& got, const Doubles& want, double size = 1) {
  ASSERT_EQ(got.size(), static_cast<int64_t>(want.size()));
  const double bound = got.dtype() == DType::bf16  ? 0x1p-8
                       : got.dtype() == DType::f32 ? 2e-6
                                                   : 1e-8;
  for (int64_t i = 0; i < got.size(); ++i) {
    const double w = want[static_cast<size_t>(i)];
    ASSERT_NEAR(got[i], w, bound * (std::abs(w) + 0.1 * size)) << i;
  }
}

Doubles rmsnorm(const Doubles& x, const Doubles& w, double eps) {
  const size_t cols = w.size();
  Doubles y(x.size());
  for (size_t r = 0; r < x.size() / cols; ++r) {
    double sum = 0;
    for (size_t c = 0; c < cols; ++c) sum += x[r * cols + c] * x[r * cols + c];
    const double rstd = 1 / std::sqrt(sum / static_cast<double>(cols) + eps);
    for (size_t c = 0; c < cols; ++c) y[r * cols + c] = x[r * cols + c] * rstd * w[c];
  }
  return y;
}

TEST(RmsNorm, ForwardEqualsItsFormula) {
  on_every_tier([](const Device& device, DType dtype) {
    for (const int64_t cols : {1, 63, 64, 200, 1024}) {
      const DType acc = accumulator_of(dtype);
      const Array x = Array::random(dtype, 5 * cols, 1), w = Array::random(acc, cols, 2);
      Array y = Array::zeros(dtype, 5 * cols), rstd = Array::zeros(acc, 5);
      device.kernels().rmsnorm_fwd(device.stream(), 5, 1, cols, dtype, x.raw(), cols, w.raw(), 0, 0,
                                   1e-5, y.raw(), cols, rstd.raw());
      const Doubles want = rmsnorm(doubles(x), doubles(w), 1e-5);
      expect_near(y, want, 0.1);
      for (int64_t r = 0; r < 5; ++r) {
        double sum = 0;
        for (int64_t c = 0; c < cols; ++c) sum += x[r * cols + c] * x[r * cols + c];
        EXPECT_NEAR(rstd[r] * std::sqrt(sum / static_cast<double>(cols) + 1e-5), 1, 1e-6);
      }
      Array again = Array::zeros(dtype, 5 * cols);
      device.kernels().rmsnorm_fwd(device.stream(), 5, 1, cols, dtype, x.raw(), cols, w.raw(), 0, 0,
                                   1e-5, again.raw(), cols, nullptr);
      EXPECT_EQ(again, y);
    }
  });
}

TEST(RmsNorm, BackwardEqualsFiniteDifferences) {
  on_every_tier([](const Device& device, DType dtype) {
    const int64_t rows = 4, cols = 75;
    const DType acc = accumulator_of(dtype);
    const Array x = Array::random(dtype, rows * cols, 3), w = Array::random(acc, cols, 4);
    const Array dy = Array::random(dtype, rows * cols, 5), before = Array::random(acc, cols, 6);
    Array y = Array::zeros(dtype, rows * cols), rstd = Array::zeros(acc, rows);
    Array dx = Array::zeros(dtype, rows * cols), dw = before,
          alone = Array::zeros(dtype, rows * cols);
    const KernelTable& k = device.kernels();
    k.rmsnorm_fwd(device.stream(), rows, 1, cols, dtype, x.raw(), cols, w.raw(), 0, 0, 1e-6,
                  y.raw(), cols, rstd.raw());
    k.rmsnorm_bwd(device.stream(), rows, 1, cols, dtype, x.raw(), cols, w.raw(), 0, 0, rstd.raw(),
                  dy.raw(), cols, dx.raw(), cols, dw.raw());
    k.rmsnorm_bwd(device.stream(), rows, 1, cols, dtype, x.raw(), cols, w.raw(), 0, 0, rstd.raw(),
                  dy.raw(), cols, alone.raw(), cols, nullptr);
    EXPECT_EQ(alone, dx);
    const Doubles up = doubles(dy), xs = doubles(x), ws = doubles(w);
    expect_gradient(dx, gradient(xs, up, [&](const Doubles& v) { return rmsnorm(v, ws, 1e-6); }));
    Doubles want = gradient(ws, up, [&](const Doubles& v) { return rmsnorm(xs, v, 1e-6); });
    for (int64_t c = 0; c < cols; ++c) want[static_cast<size_t>(c)] += before[c];
    expect_gradient(dw, want);
  });
}

TEST(Rope, TurnsHalfSplitPairsAndTurnsThemBack) {
  on_every_tier([](const Device& device, DType dtype) {
    const int64_t rows = 6, heads = 3, dim = 20, rotary = 12, half = 6, ld = heads * dim + 5;
    const DType acc = accumulator_of(dtype);
    const Array x = Array::random(dtype, rows * ld, 7);
    Doubles cosines, sines;
    for (int64_t i = 0; i < rows * half; ++i) {
      const double angle =
          static_cast<double>(i / half) * std::pow(1e4, -static_cast<double>(i % half) / half);
      cosines.push_back(std::cos(angle));
      sines.push_back(std::sin(angle));
    }
    const Array cos(acc, cosines), sin(acc, sines);
    Array y = x;
    device.kernels().rope(device.stream(), rows, heads, dim, rotary, false, dtype, y.raw(), ld,
                          cos.raw(), sin.raw(), false, y.raw(), ld);
    Doubles want = doubles(x);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t i = 0; i < half; ++i) {
          const int64_t at = r * ld + h * dim + i;
          const double c = cos[r * half + i], s = sin[r * half + i];
          want[static_cast<size_t>(at)] = x[at] * c - x[at + half] * s;
          want[static_cast<size_t>(at + half)] = x[at + half] * c + x[at] * s;
        }
      }
    }
    expect_near(y, want, 10);
    device.kernels().rope(device.stream(), rows, heads, dim, rotary, false, dtype, y.raw(), ld,
                          cos.raw(), sin.raw(), true, y.raw(), ld);
    expect_near(y, doubles(x), 100, 3);
  });
}

Doubles swiglu(const Doubles& gate, const Doubles& up) {
  Doubles y(gate.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  return y;
}

TEST(SwiGlu, ForwardAndBackwardEqualFormulaAndDifferences) {
  on_every_tier([](const Device& device, DType dtype) {
    const int64_t rows = 3, cols = 150, n = rows * cols;
    const Array gate = Array::random(dtype, n, 8, 3), up = Array::random(dtype, n, 9);
    const Array dy = Array::random(dtype, n, 10);
    Array out = Array::zeros(dtype, n), dgate = out, dup = out;
    const KernelTable& k = device.kernels();
    k.gated_fwd(device.stream(), Activation::silu, rows, cols, dtype, gate.raw(), cols, up.raw(),
                cols, out.raw(), cols);
    k.gated_bwd(device.stream(), Activation::silu, rows, cols, dtype, gate.raw(), cols, up.raw(),
                cols, dy.raw(), cols, dgate.raw(), cols, dup.raw(), cols);
    const Doubles g = doubles(gate), u = doubles(up), d = doubles(dy);
    expect_near(out, swiglu(g, u));
    expect_gradient(dgate, gradient(g, d, [&](const Doubles& v) { return swiglu(v, u); }));
    expect_gradient(dup, gradient(u, d, [&](const Doubles& v) { return swiglu(g, v); }));
  });
}

TEST(SwiGlu, LargeGatesNeitherOverflowNorVanishWrongly) {
  on_every_tier([](const Device& device, DType dtype) {
    const Array gate(dtype, {-1000, -90, -30, 30, 90, 1000}), up(dtype, {1, 1, 1, 1, 1, 1});
    Array out = Array::zeros(dtype, 6);
    device.kernels().gated_fwd(device.stream(), Activation::silu, 1, 6, dtype, gate.raw(), 6,
                               up.raw(), 6, out.raw(), 6);
    expect_near(out, {0, 0, -30 * std::exp(-30.0), 30, 90, 1000}, 1e-6);
  });
}

TEST(CrossEntropy, ForwardAndBackwardEqualTheFormula) {
  for (const int64_t vocab : {2, 100, 128, 1003}) {
    on_every_tier([&](const Device& device, DType dtype) {
      if (dtype == DType::bf16) return;  // logits are at least f32
      const int64_t rows = 5, ld = vocab + 3;
      Array logits = Array::random(dtype, rows * ld, 11, 5);
      for (int64_t c = 0; c < vocab; ++c) logits.set(c, logits[c] + 500);  // a row far from zero
      const int32_t labels[5] = {0, static_cast<int32_t>(vocab) - 1, 1, -100, 0};
      Array nll = Array::zeros(dtype, rows), lse = nll;
      const Array dnll(dtype, {1, 1, 0.25, 1, 0});
      const Array before = logits;
      const KernelTable& k = device.kernels();
      k.cross_entropy_fwd(device.stream(), rows, vocab, dtype, logits.raw(), ld, labels, nll.raw(),
                          lse.raw());
      EXPECT_EQ(logits, before);
      k.cross_entropy_bwd(device.stream(), rows, vocab, dtype, logits.raw(), ld, labels, lse.raw(),
                          dnll.raw());
      const double bound = dtype == DType::f32 ? 1 : 1e-7;
      for (int64_t r = 0; r < rows; ++r) {
        double sum = 0;
        const double shift = r == 0 ? 500 : 0;
        for (int64_t c = 0; c < vocab; ++c) sum += std::exp(before[r * ld + c] - shift);
        const double want = shift + std::log(sum);
        EXPECT_NEAR(lse[r], want, bound * 4e-7 * (std::abs(want) + 1));
        const double at_label = labels[r] < 0 ? 0 : want - before[r * ld + labels[r]];
        EXPECT_NEAR(nll[r], at_label, bound * 4e-7 * (std::abs(want) + 1));
        for (int64_t c = 0; c < vocab; ++c) {
          const double p = std::exp(before[r * ld + c] - want);
          const double gradient = labels[r] < 0 ? 0 : (p - (c == labels[r])) * dnll[r];
          ASSERT_NEAR(logits[r * ld + c], gradient, bound * 3e-5) << r << " " << c;
        }
        for (int64_t c = vocab; c < ld; ++c) EXPECT_EQ(logits[r * ld + c], before[r * ld + c]);
      }
    });
  }
}

}  // namespace
}  // namespace nibble::testing
