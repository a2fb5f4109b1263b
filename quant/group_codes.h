// The scales of groups inside GGUF's blocks of 256, as ggml's reference encoders choose them: some
// steps near the obvious one are tried, each corrected by least squares with weights that grow with
// the values, and the best is kept. Every sum is fp32 in order, so that bytes are the reference's.
#pragma once

#include <cstdint>

namespace nibble {

// Values = scale × code - minimum for codes 0 … top; minimum is not negative.
struct AffineGroup {
  float scale = 0, minimum = 0;
};
// For 32 values. Steps are (top + first + 0.1 i) / range for i in 0 … tries.
AffineGroup fit_affine_group(const float* x, int top, float first, int tries, uint8_t* codes);

// Values = scale × (code - 32) for 16 codes 0 … 63.
float fit_centred_group(const float* x, uint8_t* codes);

// A block of q4_k or q5_k up to its codes: d, dmin and scales at `block`; codes (256) 0 … top.
// False when a scale does not fit an f16.
bool encode_affine_groups(const float* x, int top, float first, int tries, uint8_t* block,
                          uint8_t* codes);

}  // namespace nibble
