// Q4_K: a block of GGUF files. 4-bit steps, 6-bit scales and minima for 32, two f16 for 256;
// kernels/table.h spells its bytes.
#include "quant/format.h"
#include "quant/group_codes.h"

namespace nibble {
namespace {

bool encode(const float* x, uint8_t* block) {
  uint8_t codes[256];
  const bool fits = encode_affine_groups(x, 15, -1.0f, 20, block, codes);
  for (int g = 0; g < 8; g += 2)
    for (int i = 0; i < 32; ++i)
      block[16 + 16 * g + i] =
          static_cast<uint8_t>(codes[32 * g + i] | codes[32 * g + 32 + i] << 4);
  return fits;
}

}  // namespace

FormatRule q4_k_rule() {
  FormatRule rule;
  rule.name = "q4_k";
  rule.summary = "GGUF Q4_K: 4-bit steps, 6-bit scales and minima for 32, two f16 for 256";
  rule.bits = 4;
  rule.blocks = BlockRule{BlockCode::q4_k, 256, 144, encode};
  return rule;
}

}  // namespace nibble
