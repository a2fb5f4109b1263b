// Vector-wise 8-bit codes: integers of a row over its largest magnitude. The largest is sought
// among the bits of |x|, which ascend with the values and put a NaN above all: no NaN is lost.
#include <cmath>
#include <limits>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

struct Outliers {
  float threshold;
  const uint8_t* columns;
  bool beyond(float x) const { return threshold > 0 && std::fabs(x) >= threshold; }
  bool holds(float x, int64_t column) const {
    return beyond(x) || (columns != nullptr && columns[column] != 0);
  }
};

template <class T>
float largest_of(const T* x, int64_t n, const Outliers& outliers) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<float>(widen(x[i]));
    if (!outliers.beyond(value)) largest = std::max(largest, bits_of(std::fabs(value)));
  }
  const float absmax = float_of(largest);
  return std::isnan(absmax) ? std::numeric_limits<float>::quiet_NaN() : absmax;
}

template <class T>
float encode_row(const T* x, int64_t n, const Outliers& outliers, int8_t* codes) {
  const float absmax = largest_of(x, n, outliers);
  if (!(absmax > 0) || std::isinf(absmax)) {
    std::fill(codes, codes + n, int8_t{0});
    return absmax;
  }
  const float factor = (1 / absmax) * 127;
  for (int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<float>(widen(x[i]));
    const float scaled = std::isfinite(factor) ? value * factor : value / absmax * 127;
    codes[i] = outliers.holds(value, i) ? int8_t{0} : static_cast<int8_t>(std::nearbyint(scaled));
  }
  return absmax;
}

}  // namespace

void quantize_rows(Stream& stream, int64_t rows, int64_t cols, DType from, const void* x,
                   int64_t ldx, double threshold, const uint8_t* outlier_columns, int8_t* codes,
                   int64_t ldc, float* absmax) {
  const Outliers outliers{static_cast<float>(threshold), outlier_columns};
  with_float("quantize_rows", from, [&](auto tag) {
    using T = decltype(tag);
    for_rows(stream.pool(), rows, cols, 16384, [&](int64_t r) {
      absmax[r] = encode_row(static_cast<const T*>(x) + r * ldx, cols, outliers, codes + r * ldc);
    });
  });
}

}  // namespace nibble::cpu::scalar
