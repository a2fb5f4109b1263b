// Products of signed bytes with AVX2: bytes are widened to 16 bits, so that every pair of products
// fits its 32 (the instruction that multiplies bytes saturates).
#include <immintrin.h>

#include "kernels/cpu/int8_block.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx2 {
namespace {

using Sum = __m256i;
using A = __m256i;
using B = __m256i;
constexpr int64_t kStep = 16;
constexpr int kRows = 2;  // 2 × 4 sums, four of b, one of a

inline Sum no_sum() { return _mm256_setzero_si256(); }
inline A load_a(const int8_t* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline B load_b(const int8_t* p) { return load_a(p); }
inline Sum dot(Sum sum, A a, B b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
inline int32_t offset_of(const int8_t*, int64_t) { return 0; }
inline void four_totals(const Sum (&s)[4], int32_t* out) {
  const __m256i pairs =
      _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(out),
      _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
}

using BytesProduct = void (*)(const Int8Block&);
inline BytesProduct bytes_product() { return &multiply_bytes; }

// Each builds on those before it.
// clang-format off
#include "kernels/cpu/simd/int8_tile.inc"
#include "kernels/cpu/avx2/lanes.inc"
#include "kernels/cpu/avx2/bytes.inc"
#include "kernels/cpu/simd/decode.inc"
#include "kernels/cpu/simd/int8_encode.inc"
#include "kernels/cpu/simd/int8_rows.inc"
// clang-format on

}  // namespace

void multiply_bytes(const Int8Block& block) { multiply_all(block); }

#include "kernels/cpu/simd/linear_int8.inc"

}  // namespace nibble::cpu::avx2
