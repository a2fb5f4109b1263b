// The scale of a block of codes, and its values over that scale.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/float_types.h"

namespace nibble::cpu {

// A maximum has no order, so eight run at a time. A NaN is passed over.
template <class T>
float largest_magnitude(const T* x, int64_t n) {
  float lane[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t j = 0; j < 8; ++j) {
      const float size = std::fabs(static_cast<float>(widen(x[i + j])));
      lane[j] = lane[j] < size ? size : lane[j];
    }
  }
  for (; i < n; ++i) {
    const float size = std::fabs(static_cast<float>(widen(x[i])));
    lane[0] = lane[0] < size ? size : lane[0];
  }
  return *std::max_element(lane, lane + 8);
}

// out = x × (1 / largest), each rounded. Where 1 / largest is no finite float (largest below
// 2.94e-39) the exact quotient takes its place.
template <class T>
void scale_block(const T* x, int64_t n, float largest, float* out) {
  const float inverse = 1 / largest;
  if (std::isfinite(inverse)) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(widen(x[i])) * inverse;
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(widen(x[i])) / largest;
  }
}

}  // namespace nibble::cpu
