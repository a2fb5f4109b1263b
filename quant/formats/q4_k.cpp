// Q4_K: a block of GGUF files. 4-bit steps, 6-bit scales and minima for 32, two f16 for 256;
// kernels/table.h spells its bytes.
#include "quant/format.h"

namespace nibble {

FormatRule q4_k_rule() {
  FormatRule rule;
  rule.name = "q4_k";
  rule.summary = "GGUF Q4_K: 4-bit steps, 6-bit scales and minima for 32, two f16 for 256";
  rule.bits = 4;
  rule.blocks = BlockRule{BlockCode::q4_k, 256, 144};
  return rule;
}

}  // namespace nibble
