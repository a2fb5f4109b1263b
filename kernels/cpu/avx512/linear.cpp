// Products with AVX-512: fp32 FMAs over panels decoded in L2.
#include "kernels/cpu/avx512/intrinsics.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx512 {
namespace {

#include "kernels/cpu/avx512/lanes.inc"
#include "kernels/cpu/simd/decode.inc"
#include "kernels/cpu/simd/gemm.inc"

}  // namespace

#include "kernels/cpu/simd/linear.inc"

}  // namespace nibble::cpu::avx512
