// Blocks of GGUF files: wrapped as they are, or made from values, row by row.
#include <atomic>

#include "base/errors.h"
#include "quant/weight.h"

namespace nibble {

Weight block_weight(Format format, Tensor blocks, int64_t in) {
  const auto& rule = rule_of(format).blocks;
  check(rule.has_value(), cat("block_weight: ", name_of(format)));
  check_eq(blocks.shape().rank, 2, "block_weight: rank");
  check_eq(in % rule->elements, 0, "block_weight: whole blocks");
  check_eq(blocks.dim(1), in / rule->elements * rule->bytes, "block_weight: bytes of a row");
  Weight weight;
  weight.format = format;
  weight.out = blocks.dim(0);
  weight.in = in;
  weight.block = rule->elements;
  weight.codes = std::move(blocks);
  return weight;
}

Weight encode_blocks(const Backend& on, const Tensor& w, Format format, std::string_view name,
                     Purpose purpose) {
  const BlockRule& rule = *rule_of(format).blocks;
  const int64_t rows = w.rows(), in = w.cols(), blocks = in / rule.elements;
  if (in % rule.elements != 0)
    throw UserError(
        name,
        cat("rows of ", in, " are no whole blocks of ", rule.elements, " for ", name_of(format)),
        "keep this tensor in f16 or bf16", Exit::bad_data);
  Tensor out = Tensor::empty(on.memory, {rows, blocks * rule.bytes}, DType::u8, purpose);
  Tensor wide = w;
  if (w.dtype() != DType::f32) {
    wide = Tensor::empty(on.memory, w.shape(), DType::f32, Purpose::scratch);
    on.k.cast(on.stream, rows, in, w.dtype(), w.raw(), w.pitch(), DType::f32, wide.raw(),
              wide.pitch());
    on.stream.wait();
  }
  std::atomic<int64_t> overflow{-1};
  on.stream.pool().parallel_for(rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = wide.data<float>() + r * wide.pitch();
      uint8_t* to = out.data<uint8_t>() + r * out.pitch();
      for (int64_t b = 0; b < blocks; ++b)
        if (!rule.encode(x + b * rule.elements, to + b * rule.bytes)) overflow = r;
    }
  });
  if (overflow >= 0)
    throw UserError(name,
                    cat("row ", overflow.load(), " holds values too large for the f16 scale of ",
                        name_of(format)),
                    "keep this tensor in bf16 or f32", Exit::bad_data);
  return block_weight(format, std::move(out), in);
}

}  // namespace nibble
