// Products of signed bytes with VNNI, which multiplies unsigned bytes by signed ones: b is read as
// b + 128, and 128 × the sum of a row of a is taken off again. What wraps on the way wraps back.
#include "kernels/cpu/avx512/intrinsics.h"
#include "kernels/cpu/int8_block.h"

namespace nibble::cpu::avx512vnni {
namespace {

using Sum = __m512i;
using A = __m512i;
using B = __m512i;
constexpr int64_t kStep = 64;
constexpr int kRows = 6;  // 6 × 4 sums, four of b, one of a

inline Sum no_sum() { return _mm512_setzero_si512(); }
inline A load_a(const int8_t* p) { return _mm512_loadu_si512(p); }
inline B load_b(const int8_t* p) {
  return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(static_cast<char>(0x80)));
}
// By hand: GCC 12 copies the sums of the intrinsic to and fro, half the speed.
inline Sum dot(Sum sum, A a, B b) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(b), "v"(a));
  return sum;
}

// 128 × the sum of k bytes.
inline int32_t offset_of(const int8_t* a, int64_t k) {
  const __m512i ones = _mm512_set1_epi8(1);
  Sum sum = no_sum();
  int64_t i = 0;
  for (; i + kStep <= k; i += kStep) sum = dot(sum, load_a(a + i), ones);
  int8_t rest[kStep] = {};
  __builtin_memcpy(rest, a + i, k - i);
  sum = dot(sum, load_a(rest), ones);
  return 128 * _mm512_reduce_add_epi32(sum);
}

// Each builds on those before it.
// clang-format off
#include "kernels/cpu/avx512/four_totals.inc"
#include "kernels/cpu/simd/int8_tile.inc"
// clang-format on

}  // namespace

void multiply_bytes(const Int8Block& block) { multiply_all(block); }

}  // namespace nibble::cpu::avx512vnni
