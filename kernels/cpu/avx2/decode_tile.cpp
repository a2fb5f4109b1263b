// Weights decoded with AVX2 and FMA.
#include <immintrin.h>

#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx2 {
namespace {

#include "kernels/cpu/avx2/lanes.inc"
#include "kernels/cpu/simd/decode.inc"

#include "kernels/cpu/avx2/block_values.inc"
#include "kernels/cpu/simd/dequantize.inc"

}  // namespace

#include "kernels/cpu/simd/decode_tile.inc"

}  // namespace nibble::cpu::avx2
