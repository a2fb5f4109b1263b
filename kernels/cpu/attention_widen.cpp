// Rows of any float type as doubles, and back: the scalar attention reads and writes through these
// two, so that it is written once for all types.
#include "kernels/cpu/attention.h"
#include "kernels/cpu/dtype_switch.h"

namespace nibble::cpu::scalar {

void widen(DType dtype, const void* x, int64_t at, int64_t n, double* out) {
  with_float("attention", dtype, [&](auto type) {
    const auto* p = static_cast<const decltype(type)*>(x) + at;
    for (int64_t i = 0; i < n; ++i) out[i] = nibble::widen(p[i]);
  });
}

void narrow(DType dtype, const double* x, int64_t n, void* out, int64_t at) {
  with_float("attention", dtype, [&](auto type) {
    auto* p = static_cast<decltype(type)*>(out) + at;
    for (int64_t i = 0; i < n; ++i) p[i] = nibble::narrow<decltype(type)>(x[i]);
  });
}

}  // namespace nibble::cpu::scalar
