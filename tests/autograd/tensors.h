// Small tensors of known values for the tests of this folder.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "autograd/op.h"

namespace nibble::testing {

inline Tensor tensor(const Ctx& ctx, Shape shape, const std::vector<double>& values, DType dtype) {
  Tensor exact = ctx.empty(shape, DType::f64);
  check_eq(static_cast<int64_t>(values.size()), exact.numel(), "values of a test tensor");
  std::copy(values.begin(), values.end(), exact.data<double>());
  return copy_as(ctx, exact, dtype);
}

inline Tensor integers(const Ctx& ctx, const std::vector<int32_t>& values) {
  Tensor t = ctx.empty({static_cast<int64_t>(values.size())}, DType::i32);
  std::copy(values.begin(), values.end(), t.data<int32_t>());
  return t;
}

inline std::vector<double> normals(const char* what, int64_t n, double scale = 1) {
  std::vector<double> x(static_cast<size_t>(n));
  const RngKey key{1, rng_site(what)};
  for (int64_t i = 0; i < n; ++i) {
    x[static_cast<size_t>(i)] = scale * random_normal(key, static_cast<uint64_t>(i));
  }
  return x;
}

inline Tensor normal(const Ctx& ctx, const char* what, Shape shape, double scale = 1) {
  return tensor(ctx, shape, normals(what, shape.numel(), scale), ctx.compute);
}

inline std::vector<double> values(const Ctx& ctx, const Tensor& t) {
  const Tensor exact = copy_as(ctx, t, DType::f64);
  return {exact.data<double>(), exact.data<double>() + exact.numel()};
}

inline bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && a.contiguous() && b.contiguous() &&
         std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0;
}

// The largest difference relative to the largest reference value.
inline double distance(const std::vector<double>& a, const std::vector<double>& reference) {
  double worst = 0, scale = 1e-300;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - reference[i]));
    scale = std::max(scale, std::abs(reference[i]));
  }
  return worst / scale;
}

}  // namespace nibble::testing
