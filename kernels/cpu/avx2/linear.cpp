// Products with AVX2 and FMA: fp32 FMAs over panels decoded in L2.
#include <immintrin.h>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx2 {
namespace {

#include "kernels/cpu/avx2/lanes.inc"
#include "kernels/cpu/simd/decode.inc"
#include "kernels/cpu/simd/gemm.inc"

}  // namespace

#include "kernels/cpu/simd/linear.inc"

}  // namespace nibble::cpu::avx2
