// What the encoders of GGUF's blocks of 32 share: f16 scales and packed nibbles.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/float_types.h"

namespace nibble {

// Writes an f16; false when x is too large for one.
inline bool put_half(float x, uint8_t* to) {
  const f16 half = to_f16(x);
  to[0] = static_cast<uint8_t>(half.bits & 255);
  to[1] = static_cast<uint8_t>(half.bits >> 8);
  return std::isfinite(widen(half));
}

// 1 / d, or 0 where it is no finite number: such a scale is 0 as an f16, too.
inline float inverse_of(float d) {
  const float inverse = 1 / d;
  return std::isfinite(inverse) ? inverse : 0;
}

// 32 codes below 16 (their low four bits): i in the low nibble of byte i, 16 + i in the high one.
inline void put_nibbles(const uint8_t* codes, uint8_t* qs) {
  for (int i = 0; i < 16; ++i) qs[i] = static_cast<uint8_t>((codes[i] & 15) | codes[16 + i] << 4);
}

inline void put_fifth_bits(const uint8_t* codes, uint8_t* qh) {
  for (int i = 0; i < 4; ++i) qh[i] = 0;
  for (int i = 0; i < 32; ++i)
    qh[i / 8] = static_cast<uint8_t>(qh[i / 8] | (codes[i] >> 4) << i % 8);
}

// Codes around a middle: the value of the largest magnitude (the first of them) gets code 0, so
// that its sign decides that of the scale, which is returned.
inline float centred_codes(const float* x, int middle, uint8_t* codes) {
  float size = 0, largest = 0;
  for (int i = 0; i < 32; ++i)
    if (size < std::fabs(x[i])) {
      size = std::fabs(x[i]);
      largest = x[i];
    }
  const float d = largest / static_cast<float>(-middle);
  const float inverse = inverse_of(d);
  for (int i = 0; i < 32; ++i) {
    const int code = static_cast<int>(x[i] * inverse + (static_cast<float>(middle) + 0.5f));
    codes[i] = static_cast<uint8_t>(code < 2 * middle ? code : 2 * middle - 1);
  }
  return d;
}

// Codes 0 … top between the smallest and the largest value; returns the step.
inline float ranged_codes(const float* x, int top, uint8_t* codes, float* minimum) {
  float low = x[0], high = x[0];
  for (int i = 1; i < 32; ++i) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  const float d = (high - low) / static_cast<float>(top);
  const float inverse = inverse_of(d);
  for (int i = 0; i < 32; ++i) {
    const float shifted = (x[i] - low) * inverse + 0.5f;  // cut off, not rounded, as the reference
    const int code = static_cast<int>(shifted);
    codes[i] = static_cast<uint8_t>(code < top ? code : top);
  }
  *minimum = low;
  return d;
}

}  // namespace nibble
