// LLM.int8() as the formula: codes of x by quantize_rows, their integer product with the weight's
// codes, and the outliers of x beside it in fp64.
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/int8_block.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

struct Outliers {
  float threshold;
  const uint8_t* columns;
  bool hold(double x, int64_t k) const {
    const bool beyond = threshold > 0 && (x < 0 ? -x : x) >= static_cast<double>(threshold);
    return beyond || (columns != nullptr && columns[k] != 0);
  }
};

}  // namespace

int64_t linear_int8_scratch(Stream&, int64_t m, const WeightView& w, DType) {
  return m * (w.in + static_cast<int64_t>(sizeof(float)));
}

void linear_int8(Stream& stream, int64_t m, const WeightView& w, DType t, const void* x,
                 int64_t ldx, double threshold, const uint8_t* outlier_columns, DType y_dtype,
                 void* y, int64_t ldy, void* scratch) {
  check_int8_weight("linear_int8", w);
  auto* absmax = static_cast<float*>(scratch);
  auto* codes = reinterpret_cast<int8_t*>(absmax + m);
  quantize_rows(stream, m, w.in, t, x, ldx, threshold, outlier_columns, codes, w.in, absmax);
  const Outliers outliers{static_cast<float>(threshold), outlier_columns};
  with_float("linear_int8", t, [&](auto type) {
    const auto* rows = static_cast<const decltype(type)*>(x);
    with_float("linear_int8", y_dtype, [&](auto result) {
      using Y = decltype(result);
      for_rows(stream.pool(), m, w.out * w.in, 16384, [&](int64_t i) {
        for (int64_t n = 0; n < w.out; ++n) {
          const int8_t* code = static_cast<const int8_t*>(w.codes) + n * w.pitch;
          int32_t sum = 0;
          double beside = 0;
          for (int64_t k = 0; k < w.in; ++k) {
            const double value = widen(rows[i * ldx + k]);
            sum += codes[i * w.in + k] * code[k];
            if (outliers.hold(value, k)) beside += value * code[k];
          }
          const double step = static_cast<double>(w.absmax[n]) / w.levels;
          static_cast<Y*>(y)[i * ldy + n] = narrow<Y>((sum * (absmax[i] / 127.0) + beside) * step);
        }
      });
    });
  });
}

}  // namespace nibble::cpu::scalar
