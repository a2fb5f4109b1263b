// Block codes of 4 and 8 bits with AVX2.
#include <immintrin.h>

#include "kernels/cpu/code_cells.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx2 {
namespace {

// Each builds on those before it.
// clang-format off
#include "kernels/cpu/avx2/lanes.inc"
#include "kernels/cpu/avx2/encode.inc"
#include "kernels/cpu/simd/block_codes.inc"
// clang-format on

}  // namespace

#include "kernels/cpu/simd/block_code_rows.inc"

}  // namespace nibble::cpu::avx2
