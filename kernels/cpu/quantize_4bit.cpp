// Block codes of 4 bits: a block's largest magnitude is its scale, a code is the interval that
// x × (1 / scale) falls into, two codes a byte.
#include <algorithm>

#include "kernels/cpu/block_scale.h"
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

constexpr int64_t kPiece = 64;  // values encoded together

struct Rule {
  const float* thresholds;  // 15, ascending
  const uint8_t* order;     // the code of each interval
  uint8_t zero_code;
};

// The codes of at most kPiece values: how many thresholds lie below each (one on the threshold
// stays down). All 15 comparisons, no search: then several values are compared at once.
void encode(const float* scaled, int64_t n, const Rule& rule, uint8_t* codes) {
  float thresholds[15];
  std::copy(rule.thresholds, rule.thresholds + 15, thresholds);
  int32_t above[kPiece];
  for (int64_t i = 0; i < n; ++i) {
    int32_t count = 0;
    for (const float threshold : thresholds) count += scaled[i] > threshold ? 1 : 0;
    above[i] = count;
  }
  for (int64_t i = 0; i < n; ++i) codes[i] = rule.order[above[i]];
}

// Codes of the elements from `first` on into their half bytes, the high one before the low one.
void pack(const uint8_t* codes, int64_t first, int64_t n, uint8_t* packed) {
  int64_t i = 0;
  if (first % 2 != 0) packed[first / 2] = static_cast<uint8_t>(packed[first / 2] | codes[i++]);
  for (; i + 1 < n; i += 2) {
    packed[(first + i) / 2] = static_cast<uint8_t>(codes[i] << 4 | codes[i + 1]);
  }
  if (i < n) packed[(first + i) / 2] = static_cast<uint8_t>(codes[i] << 4);
}

template <class T>
void encode_block(const T* x, int64_t begin, int64_t end, const Rule& rule, uint8_t* packed,
                  float* absmax) {
  const float largest = largest_magnitude(x + begin, end - begin);
  *absmax = largest;
  float scaled[kPiece];
  uint8_t codes[kPiece];
  for (int64_t i = begin; i < end; i += kPiece) {
    const int64_t n = std::min(kPiece, end - i);
    if (largest == 0) {
      std::fill(codes, codes + n, rule.zero_code);
    } else {
      scale_block(x + i, n, largest, scaled);
      encode(scaled, n, rule, codes);
    }
    pack(codes, i, n, packed);
  }
}

}  // namespace

void quantize_4bit(Stream& stream, int64_t n, DType from, const void* x, int64_t block,
                   const float* thresholds, const uint8_t* order, uint8_t zero_code,
                   uint8_t* packed, float* absmax) {
  const Rule rule{thresholds, order, zero_code};
  const int64_t unit = block % 2 == 0 ? 1 : 2;  // blocks of odd length share a byte in pairs
  const int64_t blocks = (n + block - 1) / block;
  with_float("quantize_4bit", from, [&](auto tag) {
    using T = decltype(tag);
    for_rows(stream.pool(), (blocks + unit - 1) / unit, unit * block, 16384, [&](int64_t pair) {
      for (int64_t b = pair * unit; b < std::min(blocks, (pair + 1) * unit); ++b) {
        encode_block(static_cast<const T*>(x), b * block, std::min(n, (b + 1) * block), rule,
                     packed, absmax + b);
      }
    });
  });
  if (n % 2 != 0) packed[n / 2] = static_cast<uint8_t>(packed[n / 2] | zero_code);
}

}  // namespace nibble::cpu::scalar
