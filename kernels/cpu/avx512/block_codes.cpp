// Block codes of 4 and 8 bits with AVX-512.
#include "kernels/cpu/avx512/intrinsics.h"

#include "kernels/cpu/code_cells.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx512 {
namespace {

// Each builds on those before it.
// clang-format off
#include "kernels/cpu/avx512/lanes.inc"
#include "kernels/cpu/avx512/encode.inc"
#include "kernels/cpu/simd/block_codes.inc"
// clang-format on

}  // namespace

#include "kernels/cpu/simd/block_code_rows.inc"

}  // namespace nibble::cpu::avx512
