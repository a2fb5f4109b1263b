// int4: plain absmax integers, the yardstick for NF4 and FP4. A code is the nearest of -7 … 7 in
// two's complement and its value code / 7; the sixteenth, -8, is never given and decodes to -8/7.
#include "quant/format.h"

namespace nibble {

FormatRule int4_rule() {
  FormatRule rule;
  rule.name = "int4";
  rule.summary = "4-bit integers, evenly spaced";
  rule.coded = true;
  rule.bits = 4;
  for (int q = -8; q < 8; ++q) rule.table[q & 15] = static_cast<float>(q) / 7;
  // Interval i has the integer i - 8. No scaled value lies below -2: interval 0 stays empty. A tie
  // goes to the lower integer.
  rule.thresholds[0] = -2;
  for (int i = 1; i < 15; ++i) rule.thresholds[i] = (static_cast<float>(i) - 7.5f) / 7;
  for (int i = 0; i < 16; ++i) rule.order[i] = static_cast<uint8_t>((i == 0 ? -7 : i - 8) & 15);
  return rule;  // zeros and blocks of zeros have code 0
}

}  // namespace nibble
