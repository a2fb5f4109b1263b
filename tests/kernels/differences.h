// Arrays as doubles, and derivatives of formulas by central differences.
#pragma once

#include <cmath>
#include <vector>

#include "tests/kernels/array.h"

namespace nibble::testing {

using Doubles = std::vector<double>;

inline Doubles doubles(const Array& a) {
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

inline void expect_gradient(const Array& got, const Doubles& want, double size = 1) {
  ASSERT_EQ(got.size(), static_cast<int64_t>(want.size()));
  const double bound = got.dtype() == DType::bf16  ? 0x1p-8
                       : got.dtype() == DType::f16 ? 0x1p-11
                       : got.dtype() == DType::f32 ? 2e-6
                                                   : 1e-8;
  for (int64_t i = 0; i < got.size(); ++i) {
    const double w = want[static_cast<size_t>(i)];
    ASSERT_NEAR(got[i], w, bound * (std::abs(w) + 0.1 * size)) << i;
  }
}

}  // namespace nibble::testing
