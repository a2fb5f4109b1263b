// bfloat16, the format most checkpoints have.
#include "quant/format.h"

namespace nibble {

FormatRule bf16_rule() {
  FormatRule rule;
  rule.name = "bf16";
  rule.summary = "dense bf16 values";
  rule.dtype = DType::bf16;
  rule.bits = 16;
  return rule;
}

}  // namespace nibble
