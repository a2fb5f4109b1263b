// The search for an 8-bit code that the GPU kernels of bitsandbytes make: seven halvings of the
// map, then one comparison with a midpoint rounded to fp32. It differs from the nearest code on
// ties and by what that rounding moves.
#pragma once

#include <cstdint>

#include "kernels/cpu/nearest_code.h"

namespace nibble::cpu {

uint8_t gpu_search(const float* map, float x);  // 256 ascending entries; a NaN ends at code 0
NearestCode gpu_codes(const float* map);        // the same as borders

}  // namespace nibble::cpu
