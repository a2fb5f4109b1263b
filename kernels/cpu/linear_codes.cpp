// Codes of activations against a weight of any format, as the formula.
#include <vector>

#include "kernels/cpu/decode.h"
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {

int64_t linear_codes_scratch(Stream&, int64_t, const WeightView&) { return 0; }

void linear_codes(Stream& stream, int64_t m, const WeightView& w, const int8_t* x, int64_t ldx,
                  const float* scales, DType y_dtype, void* y, int64_t ldy, void*) {
  constexpr int64_t kSteps = 64;  // decoded at a time
  with_float("linear_codes", y_dtype, [&](auto result) {
    using Y = decltype(result);
    for_rows(stream.pool(), w.out, m * w.in, 16384, [&](int64_t n) {
      for (int64_t i = 0; i < m; ++i) {
        double sum = 0, values[kSteps];
        for (int64_t k0 = 0; k0 < w.in; k0 += kSteps) {
          const int64_t k1 = std::min(k0 + kSteps, w.in);
          decode_row(w, n, k0, k1, DType::f32, values);
          for (int64_t k = k0; k < k1; ++k) sum += x[i * ldx + k] * values[k - k0];
        }
        static_cast<Y*>(y)[i * ldy + n] = narrow<Y>(scales[i] * sum);
      }
    });
  });
}

}  // namespace nibble::cpu::scalar
