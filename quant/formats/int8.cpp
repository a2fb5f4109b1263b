// int8: the weights of LLM.int8() (Dettmers et al. 2022). A row's largest magnitude is its scale
// and has code ±127; bitsandbytes names the scales SCB.
#include "quant/format.h"

namespace nibble {

FormatRule int8_rule() {
  FormatRule rule;
  rule.name = "int8";
  rule.summary = "8-bit integers, an f32 scale a row";
  rule.rows = true;
  rule.bits = 8;
  return rule;
}

}  // namespace nibble
