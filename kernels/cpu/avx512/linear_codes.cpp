// Codes of activations against any weight with AVX-512.
#include "kernels/cpu/avx512/intrinsics.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx512 {
namespace {

// Each builds on those before it.
// clang-format off
#include "kernels/cpu/avx512/lanes.inc"
#include "kernels/cpu/simd/decode.inc"
#include "kernels/cpu/simd/codes.inc"
// clang-format on

}  // namespace

#include "kernels/cpu/simd/linear_codes.inc"

}  // namespace nibble::cpu::avx512
