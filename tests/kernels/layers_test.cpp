// Rotary positions, the shape of logits and the loss: forward against the formula in double,
// backward against its derivative.
#include <cmath>

#include "tests/kernels/differences.h"

namespace nibble::testing {
namespace {

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

TEST(Rope, TurnsNeighboursAndMultipliesByTheTranspose) {
  on_every_tier([](const Device& device, DType dtype) {
    for (const auto& [dim, rotary] :
         {std::pair<int64_t, int64_t>{20, 12}, {2, 2}, {96, 96}, {70, 66}, {33, 32}, {64, 14}}) {
      const int64_t rows = 4, heads = 3, half = rotary / 2, ld = heads * dim + 5;
      const DType acc = accumulator_of(dtype);
      // No rotation: with a factor in cos and sin the transpose is not the inverse.
      const Array cos = Array::random(acc, rows * half, 1),
                  sin = Array::random(acc, rows * half, 2);
      const Array x = Array::random(dtype, rows * ld, 3);
      for (const bool inverse : {false, true}) {
        Array y = Array::random(dtype, rows * ld, 4), in_place = x;
        const Array before = y;
        const KernelTable& k = device.kernels();
        k.rope(device.stream(), rows, heads, dim, rotary, true, dtype, x.raw(), ld, cos.raw(),
               sin.raw(), inverse, y.raw(), ld);
        k.rope(device.stream(), rows, heads, dim, rotary, true, dtype, in_place.raw(), ld,
               cos.raw(), sin.raw(), inverse, in_place.raw(), ld);
        Doubles want = doubles(before), want_in_place = doubles(x);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < heads * dim; ++c) {
            const int64_t at = r * ld + c, i = c % dim / 2, odd = c % dim % 2;
            double value = x[at];
            if (c % dim < rotary) {
              const double s = (inverse ? -1 : 1) * sin[r * half + i];
              value = odd == 0 ? x[at] * cos[r * half + i] - x[at + 1] * s
                               : x[at] * cos[r * half + i] + x[at - 1] * s;
            }
            want[static_cast<size_t>(at)] = want_in_place[static_cast<size_t>(at)] = value;
          }
        }
        expect_near(y, want, 20);
        expect_near(in_place, want_in_place, 20);
      }
    }
  });
}

TEST(ShapeLogits, ScalesAndCapsAndKnowsItsSlope) {
  on_every_tier([](const Device& device, DType dtype) {
    if (dtype != accumulator_of(dtype)) return;  // logits are at least f32
    for (const LogitShape& shape : {LogitShape{0.25, 0}, LogitShape{1, 30}, LogitShape{2, 5}}) {
      const int64_t rows = 3, vocab = 203, ld = vocab + 3;
      const Array before = Array::random(dtype, rows * ld, 1, 20);
      const Array upstream = Array::random(dtype, rows * ld, 2);
      Array z = before, dz = upstream;
      device.kernels().shape_logits(device.stream(), shape, rows, vocab, dtype, z.raw(), ld);
      device.kernels().shape_logits_bwd(device.stream(), shape, rows, vocab, dtype, z.raw(), ld,
                                        dz.raw(), ld);
      for (int64_t i = 0; i < z.size(); ++i) {
        double want = before[i], slope = 1;
        if (i % ld < vocab) {
          const double s = shape.scale * before[i];
          want = shape.cap > 0 ? shape.cap * std::tanh(s / shape.cap) : s;
          slope = shape.scale;
          if (shape.cap > 0) slope /= std::pow(std::cosh(s / shape.cap), 2);
        }
        const double bound = dtype == DType::f64 ? 1e-13 : 4e-7;
        ASSERT_NEAR(z[i], want, bound * std::abs(want)) << i;
        // Near the cap what is left of 1 - (z/cap)² is as coarse as z itself.
        ASSERT_NEAR(dz[i], upstream[i] * slope, 4 * bound * std::abs(upstream[i])) << i;
      }
    }
  });
}

TEST(CrossEntropy, ForwardAndBackwardEqualTheFormula) {
  for (const int64_t vocab : {2, 100, 128, 1003}) {
    on_every_tier([&](const Device& device, DType dtype) {
      if (dtype != accumulator_of(dtype)) return;  // logits are at least f32
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
