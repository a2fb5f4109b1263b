// Q4_1: a block of GGUF files. 4-bit steps above a minimum, two f16 for 32; kernels/table.h spells
// its bytes.
#include "quant/block_codes.h"
#include "quant/format.h"

namespace nibble {
namespace {

bool encode(const float* x, uint8_t* block) {
  uint8_t codes[32];
  float minimum;
  const float d = ranged_codes(x, 15, codes, &minimum);
  put_nibbles(codes, block + 4);
  const bool fits = put_half(minimum, block + 2);
  return put_half(d, block) && fits;
}

}  // namespace

FormatRule q4_1_rule() {
  FormatRule rule;
  rule.name = "q4_1";
  rule.summary = "GGUF Q4_1: 4-bit steps above a minimum, two f16 for 32";
  rule.bits = 4;
  rule.blocks = BlockRule{BlockCode::q4_1, 32, 20, encode};
  return rule;
}

}  // namespace nibble
