// Codes of activations against any weight with AVX2.
#include <immintrin.h>
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx2 {
namespace {

// Each builds on those before it.
// clang-format off
#include "kernels/cpu/avx2/lanes.inc"
#include "kernels/cpu/simd/decode.inc"
#include "kernels/cpu/simd/codes.inc"
// clang-format on

}  // namespace

#include "kernels/cpu/simd/linear_codes.inc"

}  // namespace nibble::cpu::avx2
