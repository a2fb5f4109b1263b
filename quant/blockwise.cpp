// The maps are constants; the arithmetic is the rows' own.
#include "quant/blockwise.h"

#include "base/errors.h"

namespace nibble {
namespace {
#include "quant/blockwise_maps.inc"
}  // namespace

const float* dynamic_signed_map() { return kDynamicSigned; }
const float* dynamic_unsigned_map() { return kDynamicUnsigned; }
const float* linear_signed_map() { return kLinearSigned; }

Blockwise quantize_blockwise(const Backend& on, const Tensor& values, const float* map,
                             int64_t block, Purpose purpose) {
  check(values.contiguous(), "quantize_blockwise: values have gaps between rows");
  check(block > 0, "quantize_blockwise: block must be positive");
  const int64_t n = values.numel();
  Blockwise out;
  out.block = block;
  out.codes = Tensor::empty(on.memory, values.shape(), DType::u8, purpose);
  out.absmax = Tensor::empty(on.memory, {(n + block - 1) / block}, DType::f32, purpose);
  on.k.quantize_8bit(on.stream, n, values.dtype(), values.raw(), block, map,
                     out.codes.data<uint8_t>(), out.absmax.data<float>());
  return out;
}

Tensor dequantize_blockwise(const Backend& on, const Blockwise& coded, const float* map, DType to,
                            Purpose purpose) {
  const int64_t n = coded.codes.numel();
  check_eq(coded.absmax.numel(), (n + coded.block - 1) / coded.block,
           "dequantize_blockwise: number of scales");
  Tensor out = Tensor::empty(on.memory, coded.codes.shape(), to, purpose);
  on.k.dequantize_8bit(on.stream, n, coded.codes.data<uint8_t>(), coded.block, map,
                       coded.absmax.data<float>(), to, out.raw());
  return out;
}

}  // namespace nibble
