// Vector-wise 8-bit codes: integers of a row over its largest magnitude.
#include <cmath>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

struct Outliers {
  float threshold;
  const uint8_t* columns;
  bool holds(float x, int64_t column) const {
    if (columns != nullptr) return columns[column] != 0;
    return threshold > 0 && std::fabs(x) >= threshold;
  }
};

template <class T>
float encode_row(const T* x, int64_t n, const Outliers& outliers, int8_t* codes) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<float>(widen(x[i]));
    if (!outliers.holds(value, i)) largest = std::max(largest, std::fabs(value));
  }
  const float factor = largest > 0 ? (1 / largest) * 127 : 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<float>(widen(x[i]));
    // The exact quotient where 1 / largest is no finite float.
    const float scaled = std::isfinite(factor) ? value * factor : value / largest * 127;
    codes[i] = outliers.holds(value, i) ? int8_t{0} : static_cast<int8_t>(std::nearbyint(scaled));
  }
  return largest;
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
