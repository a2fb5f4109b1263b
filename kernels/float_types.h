// bf16 and f16 as bit patterns, and every conversion between the float types: one rounding, to the
// nearest, ties to even; a NaN stays a NaN of the same sign. Overlay files must not include this:
// an AVX copy of an inline function must never be the one the linker keeps.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace nibble {

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

inline uint32_t bits_of(float x) {
  uint32_t b;
  std::memcpy(&b, &x, sizeof b);
  return b;
}
inline float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// What arithmetic on a T is done in.
template <class T>
using Acc = std::conditional_t<std::is_same_v<T, double>, double, float>;

inline double widen(double x) { return x; }
inline float widen(float x) { return x; }
inline float widen(bf16 x) { return float_of(static_cast<uint32_t>(x.bits) << 16); }
inline float widen(f16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  const uint32_t rest = x.bits & 0x7fffu;
  if (rest >= 0x7c00u) return float_of(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  if (rest >= 0x0400u) return float_of(sign | ((rest << 13) + 0x38000000u));
  const float tiny = static_cast<float>(rest) * 0x1p-24f;  // denormal or zero, exact
  return float_of(sign | bits_of(tiny));
}

inline bf16 to_bf16(float x) {
  const uint32_t b = bits_of(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(b >> 16 | 0x40u)};
  return {static_cast<uint16_t>((b + 0x7fffu + (b >> 16 & 1u)) >> 16)};
}

inline f16 to_f16(float x) {
  const uint32_t b = bits_of(x);
  const uint32_t sign = b >> 16 & 0x8000u;
  const uint32_t rest = b & 0x7fffffffu;
  uint32_t h;
  if (rest > 0x7f800000u) {
    h = 0x7e00u | (rest >> 13 & 0x3ffu);
  } else if (rest >= 0x47800000u) {  // 65536 and above; 65520 … 65536 round up to it below
    h = 0x7c00u;
  } else if (rest >= 0x38800000u) {  // a normal f16
    const uint32_t r = rest - 0x38000000u;
    h = (r + 0xfffu + (r >> 13 & 1u)) >> 13;
  } else {  // a multiple of 2^-24; adding 0.5 leaves its count in the low bits, rounded to even
    h = bits_of(float_of(rest) + 0.5f) - 0x3f000000u;
  }
  return {static_cast<uint16_t>(sign | h)};
}

// Rounded to odd: the last bit remembers that something was cut off, so that rounding the result
// once more to a type of at most 22 bits equals rounding x once.
inline float round_to_odd(double x) {
  if (x < 0x1p-126 && x > -0x1p-126) {  // a denormal float: fewer bits, the last one another
    const float nearest = static_cast<float>(x);
    if (static_cast<double>(nearest) == x) return nearest;
    const uint32_t b = bits_of(nearest);
    const bool away = (x < 0 ? -x : x) < static_cast<double>(float_of(b & 0x7fffffffu));
    return float_of((away ? b - 1 : b) | 1u);
  }
  constexpr uint64_t kCut = (uint64_t{1} << 29) - 1;  // what a float has no place for
  uint64_t b;
  std::memcpy(&b, &x, sizeof b);
  b = (b | ((b & kCut) + kCut)) & ~kCut;  // the sum carries into bit 29 unless nothing is cut
  std::memcpy(&x, &b, sizeof b);
  return static_cast<float>(x);
}

// narrow<T>(x): x of float or double, rounded once to T.
template <class T, class X>
inline T narrow(X x) {
  static_assert(std::is_same_v<X, float> || std::is_same_v<X, double>);
  if constexpr (std::is_same_v<T, double> || std::is_same_v<T, float>) {
    return static_cast<T>(x);
  } else {
    float f;
    if constexpr (std::is_same_v<X, double>) {
      f = round_to_odd(x);
    } else {
      f = x;
    }
    if constexpr (std::is_same_v<T, bf16>) {
      return to_bf16(f);
    } else {
      return to_f16(f);
    }
  }
}

}  // namespace nibble
