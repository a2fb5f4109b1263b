// Activations, alone and as gates: values and slopes against the formulas in long double, and how
// far the vector tiers' own approximations are from them.
#include <cmath>

#include "tests/kernels/differences.h"

namespace nibble::testing {
namespace {

using Real = long double;
constexpr Real kPi = 3.14159265358979323846264338327950288L;

struct Named {
  Activation activation;
  const char* name;
  Real (*value)(Real);
  Real (*slope)(Real);
};

Real logistic(Real x) { return 1 / (1 + std::exp(-x)); }
Real bend(Real x) { return std::sqrt(8 / kPi) * (x + 0.044715L * x * x * x); }

const Named kActivations[] = {
    {Activation::silu, "silu", [](Real x) { return x * logistic(x); },
     [](Real x) { return logistic(x) + x * logistic(x) * logistic(-x); }},
    {Activation::gelu, "gelu", [](Real x) { return x * std::erfc(-x / std::sqrt(2.0L)) / 2; },
     [](Real x) {
       return std::erfc(-x / std::sqrt(2.0L)) / 2 + x * std::exp(-x * x / 2) / std::sqrt(2 * kPi);
     }},
    {Activation::gelu_tanh, "gelu_tanh", [](Real x) { return x * logistic(bend(x)); },
     [](Real x) {
       const Real steep = std::sqrt(8 / kPi) * (1 + 3 * 0.044715L * x * x);
       return logistic(bend(x)) + x * logistic(bend(x)) * logistic(-bend(x)) * steep;
     }},
    {Activation::relu, "relu", [](Real x) { return x > 0 ? x : 0; },
     [](Real x) { return x > 0 ? Real{1} : 0; }},
    {Activation::relu2, "relu2", [](Real x) { return x > 0 ? x * x : 0; },
     [](Real x) { return x > 0 ? 2 * x : 0; }},
};

Array run(const Device& d, Activation a, const Array& x) {
  Array y = Array::zeros(x.dtype(), x.size());
  d.kernels().activation_fwd(d.stream(), a, 1, x.size(), x.dtype(), x.raw(), x.size(), y.raw(),
                             x.size());
  return y;
}

Array run_backward(const Device& d, Activation a, const Array& x, const Array& dy) {
  Array dx = Array::zeros(x.dtype(), x.size());
  d.kernels().activation_bwd(d.stream(), a, 1, x.size(), x.dtype(), x.raw(), x.size(), dy.raw(),
                             x.size(), dx.raw(), x.size());
  return dx;
}

TEST(Activation, EqualsItsFormulaAndSlope) {
  on_every_tier([](const Device& device, DType dtype) {
    for (const Named& a : kActivations) {
      const Array x = Array::random(dtype, 3001, 1, 3), dy = Array::random(dtype, 3001, 2);
      Doubles value, slope;
      for (int64_t i = 0; i < x.size(); ++i) {
        value.push_back(static_cast<double>(a.value(x[i])));
        slope.push_back(dy[i] * static_cast<double>(a.slope(x[i])));
      }
      SCOPED_TRACE(a.name);
      expect_near(run(device, a.activation, x), value);
      expect_near(run_backward(device, a.activation, x, dy), slope, 100);
    }
  });
}

TEST(Activation, IsTheUsualOneAtKnownPoints) {
  // x, gelu, gelu_tanh: torch 2.15 in fp64.
  const double known[][3] = {{-3.5, -0.0008142017766243903, -0.0006161976553737403},
                             {-1.84, -0.06050677833286149, -0.060542378604878384},
                             {-0.75, -0.16997051428265111, -0.17003944483437966},
                             {-0.1, -0.0460172162722971, -0.04601724895456484},
                             {0.3, 0.1853734266566858, 0.18537092354275922},
                             {0.6875, 0.5184548528635703, 0.5184027048205461},
                             {1.0, 0.841344746068543, 0.8411919906082768},
                             {2.5, 2.4844758366855597, 2.484915733910001},
                             {5.0, 4.999998566742141, 4.999999770820381}};
  on_every_tier([&](const Device& device, DType dtype) {
    if (size_of(dtype) == 2) return;
    Doubles x, exact, bent;
    for (const auto& k : known) x.push_back(k[0]), exact.push_back(k[1]), bent.push_back(k[2]);
    const Array points(dtype, x);
    expect_near(run(device, Activation::gelu, points), exact);
    expect_near(run(device, Activation::gelu_tanh, points), bent);
  });
}

// Ulps of f32 between got and want, of 1e-30 where want is smaller.
double ulps(double got, Real want) {
  const float f = std::max(std::abs(static_cast<float>(want)), 1e-30f);
  return static_cast<double>(std::abs(static_cast<Real>(got) - want)) /
         static_cast<double>(std::nextafter(f, INFINITY) - f);
}

TEST(Activation, IsWithinAFewUnitsInTheLastPlaceFromTailToTail) {
  Doubles points;
  for (double size = 1e-30; size < 100; size *= 1.0009) points.push_back(size);
  for (double size = 0; size < 16; size += 1.0 / 1024) points.push_back(size);
  for (size_t i = 0, n = points.size(); i < n; ++i) points.push_back(-points[i]);
  const Array x(DType::f32, points), one(DType::f32, Doubles(points.size(), 1));
  on_every_tier([&](const Device& device, DType dtype) {
    if (dtype != DType::f32) return;
    for (const Named& a : kActivations) {
      const Array y = run(device, a.activation, x), dx = run_backward(device, a.activation, x, one);
      double above = 0, below = 0, slope = 0;
      for (int64_t i = 0; i < x.size(); ++i) {
        double& worst = x[i] < 0 ? below : above;
        worst = std::max(worst, ulps(y[i], a.value(x[i])));
        // Of numbers near 1: a slope crosses zero, where no relative error can be kept.
        const Real want = a.slope(x[i]);
        const double off = static_cast<double>(std::abs(static_cast<Real>(dx[i]) - want));
        slope = std::max(slope, off / std::max(1.0, std::abs(static_cast<double>(want))));
      }
      EXPECT_LE(above, 2) << a.name;
      EXPECT_LE(below, 6) << a.name << " below zero";
      EXPECT_LE(slope, a.activation == Activation::silu ? 9 * 0x1p-23 : 2 * 0x1p-23) << a.name;
    }
  });
}

TEST(Activation, OfHugeNumbersIsTheNumberOrZeroAndOfNanIsNan) {
  on_every_tier([](const Device& device, DType dtype) {
    const bool f16 = dtype == DType::f16;  // ends at 65504, squares included
    const Array x(dtype, {f16 ? -6e4 : -1e30, -200, -40, 40, 200, f16 ? 250 : 1e15, std::nan("")});
    const Array dy(dtype, Doubles(7, 1));
    for (const Named& a : kActivations) {
      SCOPED_TRACE(a.name);
      const Array y = run(device, a.activation, x), dx = run_backward(device, a.activation, x, dy);
      const bool squares = a.activation == Activation::relu2;
      for (int i = 0; i < 3; ++i) {
        EXPECT_NEAR(y[i], 0, 1e-14) << x[i];
        EXPECT_NEAR(dx[i], 0, 1e-14) << x[i];
      }
      for (int i = 3; i < 6; ++i) {
        EXPECT_NEAR(y[i] / (squares ? x[i] * x[i] : x[i]), 1, tolerance(dtype)) << x[i];
        if (a.activation == Activation::silu && i == 5) continue;  // x (1 - σ) by rounding
        EXPECT_NEAR(dx[i] / (squares ? 2 * x[i] : 1), 1, tolerance(dtype)) << x[i];
      }
      EXPECT_TRUE(std::isnan(y[6]));
    }
  });
}

TEST(Gated, IsTheActivationOfTheGateTimesUp) {
  on_every_tier([](const Device& device, DType dtype) {
    for (const Named& a : kActivations) {
      SCOPED_TRACE(a.name);
      const int64_t rows = 3, cols = 150, n = rows * cols;
      const Array gate = Array::random(dtype, n, 8, 3), up = Array::random(dtype, n, 9);
      const Array dy = Array::random(dtype, n, 10);
      Array out = Array::zeros(dtype, n), dgate = out, dup = out;
      const KernelTable& k = device.kernels();
      k.gated_fwd(device.stream(), a.activation, rows, cols, dtype, gate.raw(), cols, up.raw(),
                  cols, out.raw(), cols);
      k.gated_bwd(device.stream(), a.activation, rows, cols, dtype, gate.raw(), cols, up.raw(),
                  cols, dy.raw(), cols, dgate.raw(), cols, dup.raw(), cols);
      const Doubles g = doubles(gate), u = doubles(up), d = doubles(dy);
      const auto formula = [&](const Doubles& x, const Doubles& y) {
        Doubles z;
        for (size_t i = 0; i < x.size(); ++i) {
          z.push_back(static_cast<double>(a.value(x[i])) * y[i]);
        }
        return z;
      };
      expect_near(out, formula(g, u));
      // A gate at relu's corner has no slope, but none of these is within 1e-5 of it.
      expect_gradient(dgate, gradient(g, d, [&](const Doubles& v) { return formula(v, u); }));
      expect_gradient(dup, gradient(u, d, [&](const Doubles& v) { return formula(g, v); }));
      // Outputs may lie where inputs do.
      Array over_gate = gate, over_dy = dy, over_up = up;
      k.gated_bwd(device.stream(), a.activation, rows, cols, dtype, over_gate.raw(), cols,
                  over_up.raw(), cols, over_dy.raw(), cols, over_gate.raw(), cols, over_up.raw(),
                  cols);
      EXPECT_EQ(over_gate, dgate);
      EXPECT_EQ(over_up, dup);
      over_gate = gate;
      k.gated_fwd(device.stream(), a.activation, rows, cols, dtype, over_gate.raw(), cols, up.raw(),
                  cols, over_gate.raw(), cols);
      EXPECT_EQ(over_gate, out);
    }
  });
}

TEST(Gated, LargeGatesNeitherOverflowNorVanishWrongly) {
  on_every_tier([](const Device& device, DType dtype) {
    const Array gate(dtype, {-1000, -90, -30, 30, 90, 1000}), up(dtype, {1, 1, 1, 1, 1, 1});
    Array out = Array::zeros(dtype, 6);
    device.kernels().gated_fwd(device.stream(), Activation::silu, 1, 6, dtype, gate.raw(), 6,
                               up.raw(), 6, out.raw(), 6);
    expect_near(out, {0, 0, -30 * std::exp(-30.0), 30, 90, 1000}, 1e-6);
  });
}

}  // namespace
}  // namespace nibble::testing
