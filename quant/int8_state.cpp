#include "quant/int8_state.h"

#include "base/errors.h"
#include "quant/state_reader.h"

namespace nibble {
namespace {

void check_order(const StateReader& r) {
  const Tensor order = r.get("weight_format");
  if (order.dtype() != DType::u8 || order.numel() != 1)
    r.fail("weight_format",
           cat("it is ", name_of(order.dtype()), " with ", order.numel(), " entries, not one u8"));
  static const char* const kOrders[] = {"row", "col32", "col_turing", "col_ampere"};
  const int code = *order.data<uint8_t>();
  if (code == 0) return;
  if (code < 4)
    r.fail("weight_format",
           cat("is ", code, " (", kOrders[code], "): codes in the order of an old GPU kernel"),
           "load and save the model once with bitsandbytes 0.45, which writes rows");
  r.fail("weight_format", cat("is ", code, ", which names no order of codes"));
}

}  // namespace

Weight read_int8_state(const Backend& on, std::string_view prefix, const TensorSource& source,
                       int64_t out, int64_t in, std::optional<double> threshold, Purpose purpose) {
  const StateReader r{on, source, std::string(prefix), "an 8-bit"};
  Tensor codes = r.get("weight");
  if (codes.dtype() != DType::i8)
    r.fail("weight", cat("its dtype is ", name_of(codes.dtype()), ", 8-bit codes are i8"));
  if (codes.shape().rank != 2)
    r.fail("weight", cat("its shape is ", codes.shape(), ", not (out, in)"));
  r.check_shape("weight", codes.dim(0), codes.dim(1), out, in);
  if (!r.has("SCB"))
    r.fail("SCB", "the scales of the 8-bit weight beside it are missing: its codes mean nothing",
           "save the model again with save_pretrained, or quantize the 16-bit model with nibble "
           "quantize --type int8");
  Weight w;
  w.format = Format::int8;
  w.out = codes.dim(0);
  w.in = codes.dim(1);
  w.block = w.in;
  w.value_dtype = DType::f32;
  w.outlier_threshold = threshold;
  w.codes = codes;
  w.scales = r.get("SCB", DType::f32, w.out, purpose);
  r.check_finite("SCB", w.scales);
  for (int64_t i = 0; i < w.out; ++i)
    if (w.scales.data<float>()[i] < 0)
      r.fail("SCB", cat("entry ", i, " is ", w.scales.data<float>()[i],
                        ", a largest magnitude is not negative"));
  auto as = std::make_shared<StoredAs>();
  as->has_order = r.has("weight_format");
  if (as->has_order) check_order(r);
  w.stored = std::move(as);
  return w;
}

NamedTensors write_int8_state(const Backend& on, std::string_view prefix, const Weight& w) {
  check(rule_of(w.format).rows, "write_int8_state: a weight of another format");
  NamedTensors all;
  all.emplace_back(cat(prefix, "SCB"), w.scales);
  all.emplace_back(cat(prefix, "weight"), w.codes);
  if (w.stored && !w.stored->has_order) return all;
  Tensor order = Tensor::zeros(on.memory, Shape{}, DType::u8, Purpose::staging);
  all.emplace_back(cat(prefix, "weight_format"), order);
  return all;
}

}  // namespace nibble
