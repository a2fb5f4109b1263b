// Q5_K: a block of GGUF files. 5-bit steps, 6-bit scales and minima for 32, two f16 for 256;
// kernels/table.h spells its bytes.
#include "quant/format.h"
#include "quant/group_codes.h"

namespace nibble {
namespace {

bool encode(const float* x, uint8_t* block) {
  uint8_t codes[256];
  const bool fits = encode_affine_groups(x, 31, -0.5f, 15, block, codes);
  for (int i = 0; i < 32; ++i) {
    int high = 0;
    for (int g = 0; g < 8; ++g) high |= (codes[32 * g + i] >> 4) << g;
    block[16 + i] = static_cast<uint8_t>(high);
    for (int g = 0; g < 8; g += 2)
      block[48 + 16 * g + i] =
          static_cast<uint8_t>((codes[32 * g + i] & 15) | (codes[32 * g + 32 + i] & 15) << 4);
  }
  return fits;
}

}  // namespace

FormatRule q5_k_rule() {
  FormatRule rule;
  rule.name = "q5_k";
  rule.summary = "GGUF Q5_K: 5-bit steps, 6-bit scales and minima for 32, two f16 for 256";
  rule.bits = 5;
  rule.blocks = BlockRule{BlockCode::q5_k, 256, 176, encode};
  return rule;
}

}  // namespace nibble
