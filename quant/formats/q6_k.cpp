// Q6_K: a block of GGUF files. 6-bit integers, 8-bit scales for 16, an f16 for 256; kernels/table.h
// spells its bytes.
#include "quant/format.h"

namespace nibble {

FormatRule q6_k_rule() {
  FormatRule rule;
  rule.name = "q6_k";
  rule.summary = "GGUF Q6_K: 6-bit integers, 8-bit scales for 16, an f16 for 256";
  rule.bits = 6;
  rule.blocks = BlockRule{BlockCode::q6_k, 256, 210};
  return rule;
}

}  // namespace nibble
