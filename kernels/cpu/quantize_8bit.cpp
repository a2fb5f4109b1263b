// Block codes of 8 bits: the nearest entry of a sorted map to x × (1 / scale), exactly.
#include "kernels/cpu/block_scale.h"
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/nearest_code.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

// A block is taken in pieces: first its largest magnitude, then scaled values and their codes.
constexpr int64_t kPiece = 256;

template <class T>
void encode_block(const T* x, int64_t n, const NearestCode& nearest, uint8_t* codes,
                  float* absmax) {
  const float largest = largest_magnitude(x, n);
  *absmax = largest;
  if (largest == 0) {
    std::fill(codes, codes + n, nearest.zero());
    return;
  }
  float scaled[kPiece];
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t count = std::min(kPiece, n - begin);
    scale_block(x + begin, count, largest, scaled);
    nearest.encode(scaled, count, codes + begin);
  }
}

}  // namespace

void quantize_8bit(Stream& stream, int64_t n, DType from, const void* x, int64_t block,
                   const float* map, uint8_t* codes, float* absmax) {
  NearestCode nearest(map);
  if (n >= NearestCode::kWorthPreparing) nearest.prepare();
  with_float("quantize_8bit", from, [&](auto tag) {
    using T = decltype(tag);
    for_rows(stream.pool(), (n + block - 1) / block, block, 16384, [&](int64_t b) {
      const int64_t begin = b * block;
      encode_block(static_cast<const T*>(x) + begin, std::min(block, n - begin), nearest,
                   codes + begin, absmax + b);
    });
  });
}

void dequantize_8bit(Stream& stream, int64_t n, const uint8_t* codes, int64_t block,
                     const float* map, const float* absmax, DType to, void* y) {
  with_float("dequantize_8bit", to, [&](auto tag) {
    using T = decltype(tag);
    for_rows(stream.pool(), (n + block - 1) / block, block, 32768, [&](int64_t b) {
      T* out = static_cast<T*>(y);
      const float scale = absmax[b];
      for (int64_t i = b * block; i < std::min(n, (b + 1) * block); ++i) {
        out[i] = narrow<T>(map[codes[i]] * scale);
      }
    });
  });
}

}  // namespace nibble::cpu::scalar
