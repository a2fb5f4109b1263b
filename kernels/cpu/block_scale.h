// The scale of a block of codes, and its values over that scale.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/float_types.h"

namespace nibble::cpu {

// Magnitudes compare as their bits do, and integers in any order: this runs many at a time. A NaN
// wins: nothing hides it.
template <class T>
float largest_magnitude(const T* x, int64_t n) {
  int32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto size = static_cast<int32_t>(bits_of(static_cast<float>(widen(x[i]))) & 0x7fffffffu);
    largest = largest < size ? size : largest;
  }
  return float_of(static_cast<uint32_t>(largest));
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
