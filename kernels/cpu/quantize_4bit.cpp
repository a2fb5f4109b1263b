// Block codes of 4 bits: a block's largest magnitude is its scale, a code is the interval that
// x × (1 / scale) falls into, two codes a byte. Where 1 / scale is no finite float (scale below
// 2.94e-39) the exact quotient takes its place.
#include <cmath>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

struct Rule {
  const float* thresholds;  // 15, ascending
  const uint8_t* order;     // the code of each interval
  uint8_t zero_code;
};

template <class T>
float largest_magnitude(const T* x, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::fabs(static_cast<float>(widen(x[i]))));
  }
  return largest;
}

// How many thresholds lie below s: one on the threshold stays down.
int interval(const float* thresholds, float s) {
  int count = 0;
  for (int step = 8; step > 0; step /= 2) count += s > thresholds[count + step - 1] ? step : 0;
  return count;
}

template <class T>
void encode_block(const T* x, int64_t begin, int64_t end, const Rule& rule, uint8_t* packed,
                  float* absmax) {
  const float largest = largest_magnitude(x + begin, end - begin);
  const float inverse = 1 / largest;
  const bool finite = std::isfinite(inverse);
  *absmax = largest;
  for (int64_t i = begin; i < end; ++i) {
    uint8_t code = rule.zero_code;
    if (largest != 0) {
      const auto value = static_cast<float>(widen(x[i]));
      code = rule.order[interval(rule.thresholds, finite ? value * inverse : value / largest)];
    }
    uint8_t& byte = packed[i / 2];
    byte = static_cast<uint8_t>(i % 2 == 0 ? code << 4 : byte | code);
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
