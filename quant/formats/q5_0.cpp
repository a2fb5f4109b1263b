// Q5_0: a block of GGUF files. 5-bit integers, an f16 scale for 32; kernels/table.h spells its
// bytes.
#include "quant/block_codes.h"
#include "quant/format.h"

namespace nibble {
namespace {

bool encode(const float* x, uint8_t* block) {
  uint8_t codes[32];
  const float d = centred_codes(x, 16, codes);
  put_fifth_bits(codes, block + 2);
  put_nibbles(codes, block + 6);
  return put_half(d, block);
}

}  // namespace

FormatRule q5_0_rule() {
  FormatRule rule;
  rule.name = "q5_0";
  rule.summary = "GGUF Q5_0: 5-bit integers, an f16 scale for 32";
  rule.bits = 5;
  rule.blocks = BlockRule{BlockCode::q5_0, 32, 22, encode};
  return rule;
}

}  // namespace nibble
