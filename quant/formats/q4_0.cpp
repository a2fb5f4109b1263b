// Q4_0: a block of GGUF files. 4-bit integers, an f16 scale for 32; kernels/table.h spells its
// bytes.
#include "quant/block_codes.h"
#include "quant/format.h"

namespace nibble {
namespace {

bool encode(const float* x, uint8_t* block) {
  uint8_t codes[32];
  const float d = centred_codes(x, 8, codes);
  put_nibbles(codes, block + 2);
  return put_half(d, block);
}

}  // namespace

FormatRule q4_0_rule() {
  FormatRule rule;
  rule.name = "q4_0";
  rule.summary = "GGUF Q4_0: 4-bit integers, an f16 scale for 32";
  rule.bits = 4;
  rule.blocks = BlockRule{BlockCode::q4_0, 32, 18, encode};
  return rule;
}

}  // namespace nibble
