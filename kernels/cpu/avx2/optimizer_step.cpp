// Optimizer steps with eight floats at a time: the shared source below, with this tier's vectors.
#include <immintrin.h>

#include "kernels/cpu/code_lines.h"
#include "kernels/cpu/optimizer_factors.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::avx2 {
namespace {

// Each builds on those before it.
// clang-format off
#include "kernels/cpu/simd/vec256.inc"
#include "kernels/cpu/avx2/code_lanes.inc"
#include "kernels/cpu/simd/spans.inc"

inline Vec root(Vec x) { return sqrt(x); }
inline Vec larger(Vec a, Vec b) { return max(a, b); }
template <class V>
inline V splat(float x) {
  return splat(x);
}
template <class V>
inline V sign(V x) {
  return choose(less(zero(), x), splat(1.0F), choose(less(x, zero()), splat(-1.0F), zero()));
}
#include "kernels/cpu/simd/optimizer_rules.inc"
#include "kernels/cpu/simd/optimizer_lanes.inc"
// clang-format on

}  // namespace

#include "kernels/cpu/simd/optimizer_step.inc"

}  // namespace nibble::cpu::avx2
