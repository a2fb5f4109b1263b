// NF4 (Dettmers et al. 2023): 16 quantiles of the normal distribution, divided by the largest; 7
// below zero, zero, 8 above. Codes ascend with the values, so a code is the count of thresholds
// passed.
#include <algorithm>
#include <iterator>

#include "quant/format.h"

namespace nibble {
namespace {

constexpr float kValues[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

}  // namespace

FormatRule nf4_rule() {
  FormatRule rule;
  rule.name = "nf4";
  rule.summary = "4-bit normal float, best for weights";
  rule.coded = true;
  rule.bits = 4;
  std::copy(std::begin(kValues), std::end(kValues), rule.table);
  // The midpoints rounded to fp32 are the decision points of bitsandbytes' GPU kernels, all 15.
  for (int i = 0; i < 15; ++i) rule.thresholds[i] = (kValues[i] + kValues[i + 1]) / 2;
  for (int i = 0; i < 16; ++i) rule.order[i] = static_cast<uint8_t>(i);
  rule.code_of_zero = 7;
  rule.zero_block_code =
      0;  // as on a GPU, where 0 × inf passes no threshold; absmax 0 decodes to 0
  return rule;
}

}  // namespace nibble
