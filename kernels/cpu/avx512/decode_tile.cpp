// Weights decoded with AVX-512.
#include "kernels/cpu/avx512/intrinsics.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx512 {
namespace {

#include "kernels/cpu/avx512/lanes.inc"
#include "kernels/cpu/simd/decode.inc"

#include "kernels/cpu/avx512/block_values.inc"
#include "kernels/cpu/simd/dequantize.inc"

}  // namespace

#include "kernels/cpu/simd/decode_tile.inc"

}  // namespace nibble::cpu::avx512
