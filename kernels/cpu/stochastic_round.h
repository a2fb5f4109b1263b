// Rounding up with the probability that makes the mean exact: a weight decay far below half a unit
// of a bf16 weight still shrinks it, on average by what it should.
#pragma once

#include <cmath>
#include <type_traits>

#include "kernels/float_types.h"

namespace nibble::cpu {

// x between two neighbours of T: the larger in magnitude when `random`, uniform over 32 bits, falls
// into the share of the way that x is behind the smaller. Values of T stay, and so does what is no
// number.
template <class T>
T narrow_at_random(float x, uint32_t random) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    constexpr int kCut = std::is_same_v<T, bf16> ? 16 : 13;  // bits of fp32 that T lacks
    const uint32_t bits = bits_of(x), size = bits & 0x7fffffffu;
    if (size >= 0x7f800000u) return narrow<T>(x);
    if (std::is_same_v<T, f16> && size < 0x38800000u) {  // denormal there: multiples of 2^-24
      const double steps = static_cast<double>(float_of(size)) * 0x1p24;
      const double kept = std::floor(steps + static_cast<double>(random) * 0x1p-32);
      return narrow<T>(std::copysign(static_cast<float>(kept * 0x1p-24), x));
    }
    const uint32_t moved = bits + (random >> (32 - kCut));
    return narrow<T>(float_of(moved >> kCut << kCut));
  }
}

}  // namespace nibble::cpu
