// Quantizing computes in rows: one pass makes codes and scales, one over the scales finds NaN and
// Inf, one nests them.
#include "quant/weight.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace nibble {
namespace {

bool block_offered(int64_t block) {
  return block >= 32 && block <= 4096 && (block & (block - 1)) == 0;
}

int64_t first_nonfinite(const Backend& on, const Tensor& values) {
  int64_t index = -1;
  on.k.find_nonfinite(on.stream, values.numel(), values.dtype(), values.raw(), &index);
  on.stream.wait();
  return index;
}

void refuse_nonfinite(const Backend& on, const Tensor& w, std::string_view name) {
  const int64_t index = first_nonfinite(on, w);
  if (index < 0) return;
  float value = 0;
  on.k.cast(on.stream, 1, 1, w.dtype(), w.data<char>() + index * size_of(w.dtype()), 1, DType::f32,
            &value, 1);
  on.stream.wait();
  const char* what = std::isnan(value) ? "NaN" : value > 0 ? "Inf" : "-Inf";
  throw UserError(name,
                  cat("element [", index / w.cols(), ", ", index % w.cols(), "] of the weight is ",
                      what, ", which no code can hold"),
                  "the checkpoint is damaged or was saved by a run that diverged", Exit::bad_data);
}

// Rows end to end: block codes run over the flat matrix.
Tensor without_gaps(const Backend& on, const Tensor& w) {
  if (w.contiguous()) return w;
  Tensor copy = Tensor::empty(on.memory, w.shape(), w.dtype(), Purpose::scratch);
  on.k.cast(on.stream, w.rows(), w.cols(), w.dtype(), w.raw(), w.pitch(), w.dtype(), copy.raw(),
            copy.pitch());
  return copy;
}

// Whether all of w has a place in f16; piece by piece, as the codes are made.
class HalfPieces {
 public:
  HalfPieces(const Backend& on, const Tensor& w) : on_(on), w_(w) {
    rows_ = std::clamp<int64_t>((int64_t{1} << 20) / std::max<int64_t>(1, w.cols()), 1,
                                std::max<int64_t>(1, w.rows()));
    half_ = Tensor::empty(on.memory, {rows_, w.cols()}, DType::f16, Purpose::scratch);
    for (int64_t r = 0; r < w.rows() && all_; r += rows_) {
      const Tensor piece = at(r);
      int64_t beyond = -1;
      on.k.find_nonfinite(on.stream, piece.numel(), DType::f16, piece.raw(), &beyond);
      on.stream.wait();
      all_ = beyond < 0;
    }
  }
  bool fit() const { return all_; }
  int64_t rows() const { return rows_; }
  Tensor at(int64_t row) const {
    const Tensor from = w_.row_range(row, std::min(w_.rows(), row + rows_));
    const Tensor to = half_.row_range(0, from.rows());
    on_.k.cast(on_.stream, from.rows(), from.cols(), from.dtype(), from.raw(), from.pitch(),
               DType::f16, to.raw(), to.pitch());
    return to;
  }

 private:
  const Backend& on_;
  const Tensor& w_;
  int64_t rows_ = 1;
  Tensor half_;
  bool all_ = true;
};

Weight quantize_int8(const Backend& on, const Tensor& w, const QuantSpec& spec,
                     std::string_view name, Purpose purpose) {
  const Tensor x = without_gaps(on, w);
  refuse_nonfinite(on, x, name);
  Weight q;
  q.format = spec.format;
  q.out = w.dim(0);
  q.in = w.dim(1);
  q.block = q.in;
  q.value_dtype = DType::f32;
  q.outlier_threshold = spec.outlier_threshold;
  q.codes = Tensor::empty(on.memory, {q.out, q.in}, DType::i8, purpose);
  q.scales = Tensor::empty(on.memory, {q.out}, DType::f32, purpose);
  const auto encode = [&](const Tensor& rows, int64_t first) {
    on.k.quantize_rows(on.stream, rows.rows(), q.in, rows.dtype(), rows.raw(), rows.pitch(), 0,
                       nullptr, q.codes.data<int8_t>() + first * q.codes.pitch(), q.codes.pitch(),
                       q.scales.data<float>() + first);
  };
  const bool narrow = x.dtype() != DType::f16 && x.numel() > 0;
  const auto pieces = narrow ? std::make_unique<HalfPieces>(on, x) : nullptr;
  if (!pieces || !pieces->fit()) {
    encode(x, 0);
    return q;
  }
  for (int64_t r = 0; r < q.out; r += pieces->rows()) encode(pieces->at(r), r);
  return q;
}

}  // namespace

WeightView Weight::view() const {
  WeightView v;
  v.layout = layout;
  v.out = out;
  v.in = in;
  v.value_dtype = value_dtype;
  v.codes = codes.raw();
  if (const auto& blocks = rule_of(format).blocks) {
    v.kind = WeightKind::blocks;
    v.code = blocks->code;
    v.block = blocks->elements;
    v.block_bytes = blocks->bytes;
    v.pitch = codes.pitch();
    return v;
  }
  if (rule_of(format).rows) {
    v.kind = WeightKind::rows8;
    v.pitch = codes.pitch();
    v.absmax = scales.data<float>();
    return v;
  }
  if (!coded()) {
    v.kind = WeightKind::dense;
    v.dtype = codes.dtype();
    v.pitch = codes.pitch();
    return v;
  }
  v.kind = WeightKind::table4;
  v.block = block;
  const FormatRule& rule = rule_of(format);
  std::copy(rule.table, rule.table + 16, v.table);
  if (nested) {
    v.absmax_codes = nested->codes.data<uint8_t>();
    v.absmax2 = nested->absmax2.data<float>();
    v.map = nested->map.data<float>();
    v.block2 = nested->block;
    v.offset = nested->offset;
  } else {
    v.absmax = scales.data<float>();
  }
  return v;
}

int64_t Weight::bytes() const {
  int64_t sum = codes.bytes();
  if (scales.defined()) sum += scales.bytes();
  if (nested) sum += nested->codes.bytes() + nested->absmax2.bytes();
  return sum;
}

Weight dense_weight(Tensor w) {
  check_eq(w.shape().rank, 2, "dense_weight: rank");
  Weight weight;
  weight.format = dense_format(w.dtype());
  weight.out = w.dim(0);
  weight.in = w.dim(1);
  weight.value_dtype = w.dtype();
  weight.codes = std::move(w);
  return weight;
}

Weight quantize(const Backend& on, const Tensor& w, const QuantSpec& spec, std::string_view name,
                Purpose purpose) {
  check_eq(w.shape().rank, 2, "quantize: rank");
  check(w.dtype() == DType::f32 || w.dtype() == DType::bf16 || w.dtype() == DType::f16,
        cat("quantize: weights of ", name_of(w.dtype())));
  const FormatRule& rule = rule_of(spec.format);
  if (rule.blocks) {
    refuse_nonfinite(on, without_gaps(on, w), name);
    return encode_blocks(on, w, spec.format, name, purpose);
  }
  if (rule.rows) return quantize_int8(on, w, spec, name, purpose);
  if (!rule.coded) {
    Tensor values = Tensor::empty(on.memory, w.shape(), rule.dtype, purpose);
    on.k.cast(on.stream, w.rows(), w.cols(), w.dtype(), w.raw(), w.pitch(), rule.dtype,
              values.raw(), values.pitch());
    return dense_weight(values);
  }
  if (!block_offered(spec.block)) {
    throw UserError(name, cat("4-bit codes have no block size ", spec.block),
                    "use 32, 64, 128, 256, 512, 1024, 2048 or 4096");
  }
  const Tensor flat = without_gaps(on, w);
  Weight q;
  q.format = spec.format;
  q.out = w.dim(0);
  q.in = w.dim(1);
  q.block = spec.block;
  q.value_dtype = w.dtype();
  const int64_t n = q.out * q.in;
  q.codes = Tensor::empty(on.memory, {(n + 1) / 2}, DType::u8, purpose);
  Tensor absmax = Tensor::empty(on.memory, {q.blocks()}, DType::f32,
                                spec.double_quant ? Purpose::scratch : purpose);
  // A nested scale of 0 comes back near 0, so there only the code of 0 keeps zeros zero.
  const uint8_t zero = spec.double_quant ? rule.code_of_zero : rule.zero_block_code;
  on.k.quantize_4bit(on.stream, n, flat.dtype(), flat.raw(), q.block, rule.thresholds, rule.order,
                     zero, q.codes.data<uint8_t>(), absmax.data<float>());
  on.stream.wait();
  // A NaN or Inf makes the scale of its block one, too: only then the weights are searched.
  if (first_nonfinite(on, absmax) >= 0) refuse_nonfinite(on, flat, name);
  if (n % 2 != 0) {  // files pad the last byte with the code of 0
    uint8_t& last = q.codes.data<uint8_t>()[n / 2];
    last = static_cast<uint8_t>((last & 0xF0) | rule.code_of_zero);
  }
  if (spec.double_quant) {
    q.nested = nest_scales(on, absmax, purpose);
  } else {
    q.scales = absmax;
  }
  return q;
}

Tensor dequantize(const Backend& on, const Weight& w, DType to, Purpose purpose) {
  Tensor out = Tensor::empty(on.memory, {w.out, w.in}, to, purpose);
  dequantize_into(on, w, out);
  return out;
}

void dequantize_into(const Backend& on, const Weight& w, const Tensor& out) {
  check(out.rows() == w.out && out.cols() == w.in, cat("dequantize_into: ", out.shape().str()));
  const WeightView view = w.view();
  // decode_tile runs in its caller: rows are spread over the pool, a panel of 16 never split.
  constexpr int64_t kWorthAThread = 65536;
  const int64_t grain = std::max<int64_t>(1, kWorthAThread / (16 * std::max<int64_t>(1, w.in)));
  on.stream.pool().parallel_for((w.out + 15) / 16, grain, [&](int64_t begin, int64_t end) {
    const int64_t n0 = begin * 16, n1 = std::min(end * 16, w.out);
    if (n0 >= n1) return;
    char* rows = out.data<char>() + n0 * out.pitch() * size_of(out.dtype());
    on.k.decode_tile(view, n0, n1, 0, w.in, out.dtype(), rows, out.pitch());
  });
}

}  // namespace nibble
