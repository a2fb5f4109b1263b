// IEEE half.
#include "quant/format.h"

namespace nibble {

FormatRule f16_rule() {
  FormatRule rule;
  rule.name = "f16";
  rule.summary = "dense f16 values";
  rule.dtype = DType::f16;
  rule.bits = 16;
  return rule;
}

}  // namespace nibble
