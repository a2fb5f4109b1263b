// Attention with eight floats at a time: the shared source below, with this tier's vectors.
#include <immintrin.h>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx2 {
namespace {

// Each builds on those before it.
// clang-format off
#include "kernels/cpu/simd/vec256.inc"
#include "kernels/cpu/simd/math.inc"
#include "kernels/cpu/simd/spans.inc"
#include "kernels/cpu/simd/attention_tile.inc"
#include "kernels/cpu/simd/attention.inc"
#include "kernels/cpu/simd/attention_bwd.inc"
// clang-format on

}  // namespace

#include "kernels/cpu/simd/attention_rows.inc"

}  // namespace nibble::cpu::avx2
