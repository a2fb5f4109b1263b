// FP4 as bitsandbytes defines it: a sign bit and eight magnitudes {0, 1/16, 8, 12, 4, 6, 2, 3} / 12
// in code order; the smallest is 1/192, not the 1/12 of E2M1.
#include <cmath>
#include <limits>

#include "quant/format.h"

namespace nibble {
namespace {

constexpr float kMagnitudes[8] = {0.0f, 0.0625f, 8.0f, 12.0f, 4.0f, 6.0f, 2.0f, 3.0f};
// Codes by rising magnitude, and the decimals at which the GPU kernels step to the next one:
// truncated, so a few ulp off the midpoints. |x| must be greater.
constexpr uint8_t kAscending[8] = {0, 1, 6, 7, 4, 5, 2, 3};
constexpr float kSteps[7] = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f,
                             0.4166667f,  0.583333f,  0.8333333f};

}  // namespace

FormatRule fp4_rule() {
  FormatRule rule;
  rule.name = "fp4";
  rule.summary = "4-bit float";
  rule.coded = true;
  rule.bits = 4;
  for (int i = 0; i < 8; ++i) {
    rule.table[i] = kMagnitudes[i] / 12.0f;
    rule.table[i + 8] = i == 0 ? 0.0f : -rule.table[i];  // files store +0 for code 8
  }
  // The sign bit is set for every x < 0, even where the magnitude rounds to 0, and never for -0:
  // above the largest negative number means "not negative". Below zero |x| > t is x < -t, which
  // strict > of the number just under -t says exactly.
  for (int i = 0; i < 7; ++i) {
    rule.thresholds[8 + i] = kSteps[i];
    rule.thresholds[6 - i] = -std::nextafter(kSteps[i], std::numeric_limits<float>::infinity());
  }
  rule.thresholds[7] = -std::numeric_limits<float>::denorm_min();
  for (int i = 0; i < 8; ++i) {
    rule.order[8 + i] = kAscending[i];
    rule.order[7 - i] = static_cast<uint8_t>(kAscending[i] + 8);
  }
  rule.code_of_zero = 0;
  rule.zero_block_code = 0;
  return rule;
}

}  // namespace nibble
