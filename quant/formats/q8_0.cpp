// Q8_0: a block of GGUF files. 8-bit integers, an f16 scale for 32; kernels/table.h spells its
// bytes.
#include "quant/block_codes.h"
#include "quant/format.h"

namespace nibble {
namespace {

bool encode(const float* x, uint8_t* block) {
  float size = 0;
  for (int i = 0; i < 32; ++i) size = std::fmax(size, std::fabs(x[i]));
  const float d = size / 127;
  const float inverse = inverse_of(d);
  for (int i = 0; i < 32; ++i)
    block[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::roundf(x[i] * inverse)));
  return put_half(d, block);
}

}  // namespace

FormatRule q8_0_rule() {
  FormatRule rule;
  rule.name = "q8_0";
  rule.summary = "GGUF Q8_0: 8-bit integers, an f16 scale for 32";
  rule.bits = 8;
  rule.blocks = BlockRule{BlockCode::q8_0, 32, 34, encode};
  return rule;
}

}  // namespace nibble
