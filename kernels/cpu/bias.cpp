// y += bias, and its backward: a sum over rows, whose columns the threads share.
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {

void bias_add(Stream& stream, int64_t rows, int64_t cols, DType dtype, DType bias_dtype,
              const void* bias, void* y, int64_t ldy) {
  with_compute("bias_add", dtype, [&](auto y_tag) {
    with_float("bias_add", bias_dtype, [&](auto bias_tag) {
      using T = decltype(y_tag);
      using B = decltype(bias_tag);
      const B* b = static_cast<const B*>(bias);
      for_spans(stream.pool(), rows, cols, 32768, [&](int64_t r, int64_t begin, int64_t end) {
        T* out = static_cast<T*>(y) + r * ldy;
        for (int64_t c = begin; c < end; ++c) out[c] = narrow<T>(widen(out[c]) + widen(b[c]));
      });
    });
  });
}

void bias_bwd(Stream& stream, int64_t rows, int64_t cols, DType dtype, const void* dy, int64_t lddy,
              void* dbias) {
  constexpr int64_t kTile = 64;
  with_compute("bias_bwd", dtype, [&](auto tag) {
    using T = decltype(tag);
    const int64_t tiles = (cols + kTile - 1) / kTile;
    for_rows(stream.pool(), tiles, kTile * rows, 32768, [&](int64_t tile) {
      const int64_t begin = tile * kTile, width = std::min(kTile, cols - begin);
      double sum[kTile] = {};
      for (int64_t r = 0; r < rows; ++r) {
        const T* in = static_cast<const T*>(dy) + r * lddy + begin;
        for (int64_t c = 0; c < width; ++c) sum[c] += static_cast<double>(widen(in[c]));
      }
      auto* out = static_cast<Acc<T>*>(dbias) + begin;
      for (int64_t c = 0; c < width; ++c) {
        out[c] = static_cast<Acc<T>>(static_cast<double>(out[c]) + sum[c]);
      }
    });
  });
}

}  // namespace nibble::cpu::scalar
