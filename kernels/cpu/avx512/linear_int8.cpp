// Products of signed bytes with AVX-512: by VNNI where the CPU has it, else widened to 16 bits.
#include "kernels/cpu/avx512/intrinsics.h"
#include "kernels/cpu/int8_block.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx512 {
namespace {

using Sum = __m512i;
using A = __m512i;
using B = __m512i;
constexpr int64_t kStep = 32;
constexpr int kRows = 6;  // 6 × 4 sums, four of b, one of a

inline Sum no_sum() { return _mm512_setzero_si512(); }
inline A load_a(const int8_t* p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline B load_b(const int8_t* p) { return load_a(p); }
inline Sum dot(Sum sum, A a, B b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
inline int32_t offset_of(const int8_t*, int64_t) { return 0; }

using BytesProduct = void (*)(const Int8Block&);
inline BytesProduct bytes_product() {
  return has_avx512_vnni() ? &avx512vnni::multiply_bytes : &multiply_bytes;
}

// Each builds on those before it.
// clang-format off
#include "kernels/cpu/avx512/four_totals.inc"
#include "kernels/cpu/simd/int8_tile.inc"
#include "kernels/cpu/avx512/lanes.inc"
#include "kernels/cpu/avx512/bytes.inc"
#include "kernels/cpu/simd/decode.inc"
#include "kernels/cpu/simd/int8_encode.inc"
#include "kernels/cpu/simd/int8_rows.inc"
// clang-format on

}  // namespace

void multiply_bytes(const Int8Block& block) { multiply_all(block); }

#include "kernels/cpu/simd/linear_int8.inc"

}  // namespace nibble::cpu::avx512
