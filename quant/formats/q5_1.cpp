// Q5_1: a block of GGUF files. 5-bit steps above a minimum, two f16 for 32; kernels/table.h spells
// its bytes.
#include "quant/block_codes.h"
#include "quant/format.h"

namespace nibble {
namespace {

bool encode(const float* x, uint8_t* block) {
  uint8_t codes[32];
  float minimum;
  const float d = ranged_codes(x, 31, codes, &minimum);
  put_fifth_bits(codes, block + 4);
  put_nibbles(codes, block + 8);
  const bool fits = put_half(minimum, block + 2);
  return put_half(d, block) && fits;
}

}  // namespace

FormatRule q5_1_rule() {
  FormatRule rule;
  rule.name = "q5_1";
  rule.summary = "GGUF Q5_1: 5-bit steps above a minimum, two f16 for 32";
  rule.bits = 5;
  rule.blocks = BlockRule{BlockCode::q5_1, 32, 24, encode};
  return rule;
}

}  // namespace nibble
