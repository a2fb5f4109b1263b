// QLoRA's double quantization (Dettmers et al. 2023, §3): the paper's "FP8" is the signed dynamic
// map.
#include "quant/double_quant.h"

#include "base/errors.h"
#include "quant/blockwise.h"

namespace nibble {

float mean_of_scales(const Tensor& absmax) {
  const float* scales = absmax.data<float>();
  const int64_t n = absmax.numel();
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += scales[i];
  return n == 0 ? 0.0f : static_cast<float>(sum / static_cast<double>(n));
}

Nested nest_scales(const Backend& on, const Tensor& absmax, Purpose purpose) {
  return nest_scales(on, absmax, mean_of_scales(absmax), purpose);
}

Nested nest_scales(const Backend& on, const Tensor& absmax, float offset, Purpose purpose) {
  check(absmax.dtype() == DType::f32 && absmax.contiguous(), "nest_scales: scales must be f32");
  Nested nested;
  nested.offset = offset;
  Tensor centred = Tensor::empty(on.memory, absmax.shape(), DType::f32, Purpose::scratch);
  const float* from = absmax.data<float>();
  float* to = centred.data<float>();
  for (int64_t i = 0; i < absmax.numel(); ++i) to[i] = from[i] - offset;
  Blockwise coded = quantize_blockwise(on, centred, dynamic_signed_map(), nested.block, purpose);
  nested.codes = coded.codes;
  nested.absmax2 = coded.absmax;
  nested.map = Tensor::wrap(const_cast<float*>(dynamic_signed_map()), {256}, DType::f32);
  return nested;
}

Tensor unnest_scales(const Backend& on, const Nested& nested, Purpose purpose) {
  const Blockwise coded{nested.codes, nested.absmax2, nested.block};
  Tensor scales = dequantize_blockwise(on, coded, nested.map.data<float>(), DType::f32, purpose);
  float* value = scales.data<float>();
  for (int64_t i = 0; i < scales.numel(); ++i) value[i] += nested.offset;
  return scales;
}

}  // namespace nibble
