// IEEE single, the format of masters.
#include "quant/format.h"

namespace nibble {

FormatRule f32_rule() {
  FormatRule rule;
  rule.name = "f32";
  rule.summary = "dense f32 values";
  rule.dtype = DType::f32;
  rule.bits = 32;
  return rule;
}

}  // namespace nibble
