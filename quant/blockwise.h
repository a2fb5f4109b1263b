// Blockwise 8-bit codes: `block` values share one absmax, a code is the nearest entry of a sorted
// 256-entry map. Zero stays exactly zero, or Adam's m drifts.
#pragma once

#include "kernels/device.h"
#include "quant/backend.h"

namespace nibble {

// 256 ascending fp32 entries each, constants of the program.
const float* dynamic_signed_map();    // 7 decades, ±5.5e-7 … 1; has no -1
const float* dynamic_unsigned_map();  // 7 decades, 0 … 1
const float* linear_signed_map();     // -1 … 1 in equal steps

struct Blockwise {
  Tensor codes;   // u8, shape of the values
  Tensor absmax;  // f32 (ceil(n / block)): the largest magnitude of each block, exact
  int64_t block = 256;
};

// Values f32, bf16 or f16, contiguous, finite. Blocks run over the flat tensor, the last may be
// short. Codes are the nearest entries to x × (1/absmax), ties to the lower index.
Blockwise quantize_blockwise(const Backend& on, const Tensor& values, const float* map,
                             int64_t block, Purpose purpose);
// map[code] × absmax in fp32, rounded once to `to`.
Tensor dequantize_blockwise(const Backend& on, const Blockwise& coded, const float* map, DType to,
                            Purpose purpose);

}  // namespace nibble
