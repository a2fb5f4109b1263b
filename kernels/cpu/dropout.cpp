// Dropout whose mask is never stored: it is a function of (seed, site, sample, epoch, position,
// column), so the backward and a recomputed forward draw the same one.
#include <cmath>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {

void dropout(Stream& stream, int64_t rows, int64_t cols, DType dtype, const void* x, int64_t ldx,
             double p, RngKey key, const int64_t* samples, const int32_t* positions, void* y,
             int64_t ldy) {
  const auto threshold = static_cast<uint64_t>(std::ceil(p * 0x1p32));
  const double factor = p < 1 ? 1 / (1 - p) : 0;
  with_compute("dropout", dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto larger = static_cast<Acc<T>>(factor);
    for_rows(stream.pool(), rows, cols, 4096, [&](int64_t r) {
      RngKey row_key = key;
      row_key.sample = static_cast<uint64_t>(samples[r]);
      const RngStream random = rng_stream(row_key);
      const auto position = static_cast<uint64_t>(positions[r]);
      const T* in = static_cast<const T*>(x) + r * ldx;
      T* out = static_cast<T*>(y) + r * ldy;
      for (int64_t c = 0; c < cols; c += 4) {  // a block of four numbers serves four columns
        const auto block = random_block(random, position, static_cast<uint64_t>(c / 4));
        for (int64_t i = c; i < std::min(c + 4, cols); ++i) {
          const bool keep = block[static_cast<size_t>(i - c)] >= threshold;
          out[i] = narrow<T>(keep ? widen(in[i]) * larger : Acc<T>{0});
        }
      }
    });
  });
}

}  // namespace nibble::cpu::scalar
