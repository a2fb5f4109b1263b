// Q5_K: a block of GGUF files. 5-bit steps, 6-bit scales and minima for 32, two f16 for 256;
// kernels/table.h spells its bytes.
#include "quant/format.h"

namespace nibble {

FormatRule q5_k_rule() {
  FormatRule rule;
  rule.name = "q5_k";
  rule.summary = "GGUF Q5_K: 5-bit steps, 6-bit scales and minima for 32, two f16 for 256";
  rule.bits = 5;
  rule.blocks = BlockRule{BlockCode::q5_k, 256, 176};
  return rule;
}

}  // namespace nibble
