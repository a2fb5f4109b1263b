// Rotary positions (Su et al. 2021): (a, b) becomes (a cos - b sin, b cos + a sin). A pair is
// (x[i], x[i + rotary/2]), or two neighbours when interleaved. The backward is the transpose: the
// opposite angle, any factor in cos and sin kept. y may be x.
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {

void rope(Stream& stream, int64_t rows, int64_t heads, int64_t head_dim, int64_t rotary,
          bool interleaved, DType dtype, const void* x, int64_t ldx, const void* cos,
          const void* sin, bool inverse, void* y, int64_t ldy) {
  const int64_t half = rotary / 2;
  const int64_t step = interleaved ? 2 : 1, apart = interleaved ? 1 : half;
  with_compute("rope", dtype, [&](auto tag) {
    using T = decltype(tag);
    for_rows(stream.pool(), rows, heads * head_dim, 8192, [&](int64_t r) {
      const auto* row_cos = static_cast<const Acc<T>*>(cos) + r * half;
      const auto* row_sin = static_cast<const Acc<T>*>(sin) + r * half;
      for (int64_t h = 0; h < heads; ++h) {
        const T* in = static_cast<const T*>(x) + r * ldx + h * head_dim;
        T* out = static_cast<T*>(y) + r * ldy + h * head_dim;
        for (int64_t i = 0; i < half; ++i) {
          const auto a = static_cast<double>(widen(in[i * step]));
          const auto b = static_cast<double>(widen(in[i * step + apart]));
          const auto c = static_cast<double>(row_cos[i]);
          const auto s = static_cast<double>(inverse ? -row_sin[i] : row_sin[i]);
          out[i * step] = narrow<T>(a * c - b * s);
          out[i * step + apart] = narrow<T>(b * c + a * s);
        }
        for (int64_t i = rotary; i < head_dim; ++i) out[i] = in[i];
      }
    });
  });
}

}  // namespace nibble::cpu::scalar
