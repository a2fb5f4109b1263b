// Q6_K: a block of GGUF files. 6-bit integers, 8-bit scales for 16, an f16 for 256; kernels/table.h
// spells its bytes.
#include <algorithm>
#include <cmath>

#include "quant/block_codes.h"
#include "quant/format.h"
#include "quant/group_codes.h"

namespace nibble {
namespace {

bool encode(const float* x, uint8_t* block) {
  uint8_t codes[256];
  float scales[16], size = 0, largest = 0;
  for (int g = 0; g < 16; ++g) {
    scales[g] = fit_centred_group(x + 16 * g, codes + 16 * g);
    if (std::fabs(scales[g]) > size) {
      size = std::fabs(scales[g]);
      largest = scales[g];
    }
  }
  if (size < 1e-15f) {
    std::fill(block, block + 210, uint8_t{0});
    return true;
  }
  const float inverse = -128.0f / largest;
  const bool fits = put_half(1 / inverse, block + 208);
  const float d = widen(to_f16(1 / inverse));
  for (int g = 0; g < 16; ++g) {
    const auto scale = static_cast<int>(std::min(127L, std::lrintf(inverse * scales[g])));
    block[192 + g] = static_cast<uint8_t>(static_cast<int8_t>(scale));
    const float step = d * static_cast<float>(scale);
    if (step == 0) continue;  // the codes mean nothing; those of the search stay
    for (int i = 16 * g; i < 16 * g + 16; ++i)
      codes[i] = static_cast<uint8_t>(std::clamp(std::lrintf(x[i] / step), -32L, 31L) + 32);
  }
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 32; ++i) {
      const uint8_t* c = codes + 128 * half + i;
      uint8_t* ql = block + 64 * half + i;
      ql[0] = static_cast<uint8_t>((c[0] & 15) | (c[64] & 15) << 4);
      ql[32] = static_cast<uint8_t>((c[32] & 15) | (c[96] & 15) << 4);
      block[128 + 32 * half + i] = static_cast<uint8_t>(c[0] >> 4 | (c[32] >> 4) << 2 |
                                                        (c[64] >> 4) << 4 | (c[96] >> 4) << 6);
    }
  }
  return fits;
}

}  // namespace

FormatRule q6_k_rule() {
  FormatRule rule;
  rule.name = "q6_k";
  rule.summary = "GGUF Q6_K: 6-bit integers, 8-bit scales for 16, an f16 for 256";
  rule.bits = 6;
  rule.blocks = BlockRule{BlockCode::q6_k, 256, 210, encode};
  return rule;
}

}  // namespace nibble
