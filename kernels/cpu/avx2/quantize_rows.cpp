// Vector-wise 8-bit codes with AVX2: codes of eight floats at a time.
#include <immintrin.h>
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx2 {
namespace {

// Each builds on those before it.
// clang-format off
#include "kernels/cpu/avx2/lanes.inc"
#include "kernels/cpu/avx2/bytes.inc"
#include "kernels/cpu/simd/decode.inc"
#include "kernels/cpu/simd/int8_encode.inc"
// clang-format on

}  // namespace

#include "kernels/cpu/simd/quantize_rows.inc"

}  // namespace nibble::cpu::avx2
