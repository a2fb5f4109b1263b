// Rows of any float type as doubles, and back: the scalar attention reads and writes through these
// two, so that it is written once for all types.
#include <cstring>

#include "base/errors.h"
#include "kernels/cpu/attention.h"

namespace nibble::cpu::scalar {
namespace {

double from_bf16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &wide, sizeof x);
  return x;
}

uint16_t to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);  // stays a NaN
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

void widen(DType dtype, const void* x, int64_t at, int64_t n, double* out) {
  switch (dtype) {
    case DType::f32:
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<const float*>(x)[at + i];
      return;
    case DType::f64:
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<const double*>(x)[at + i];
      return;
    case DType::bf16:
      for (int64_t i = 0; i < n; ++i) out[i] = from_bf16(static_cast<const uint16_t*>(x)[at + i]);
      return;
    default:
      fail_check(cat("attention does not read ", name_of(dtype)), __FILE__, __LINE__);
  }
}

void narrow(DType dtype, const double* x, int64_t n, void* out, int64_t at) {
  switch (dtype) {
    case DType::f32:
      for (int64_t i = 0; i < n; ++i) static_cast<float*>(out)[at + i] = static_cast<float>(x[i]);
      return;
    case DType::f64:
      for (int64_t i = 0; i < n; ++i) static_cast<double*>(out)[at + i] = x[i];
      return;
    case DType::bf16:
      for (int64_t i = 0; i < n; ++i) {
        static_cast<uint16_t*>(out)[at + i] = to_bf16(static_cast<float>(x[i]));
      }
      return;
    default:
      fail_check(cat("attention does not write ", name_of(dtype)), __FILE__, __LINE__);
  }
}

}  // namespace nibble::cpu::scalar
