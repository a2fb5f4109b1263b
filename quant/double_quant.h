// Double quantization: the scales of a 4-bit weight are themselves 8-bit codes. Their mean is taken
// away first, so that the signed map is used on both sides of zero.
#pragma once

#include "quant/backend.h"

namespace nibble {

// The value of scale b is map[codes[b]] × absmax2[b / block], then + offset, each rounded to fp32.
struct Nested {
  Tensor codes;    // u8, one per block of the weight, in the layout's order
  Tensor absmax2;  // f32 (ceil(blocks / block)), in flat order whatever the layout
  float offset = 0;
  int64_t block = 256;
  Tensor map;  // f32 (256)
};

// Mean of the scales: summed in fp64, rounded once to fp32.
float mean_of_scales(const Tensor& absmax);
// absmax f32 (blocks), flat order. The first takes offset = mean_of_scales(absmax).
Nested nest_scales(const Backend& on, const Tensor& absmax, Purpose purpose);
Nested nest_scales(const Backend& on, const Tensor& absmax, float offset, Purpose purpose);
// The scales as f32 (blocks), codes in flat order.
Tensor unnest_scales(const Backend& on, const Nested& nested, Purpose purpose);

}  // namespace nibble
