// A weight matrix in any number format. It has one value, whoever reads it: code × absmax in fp32,
// rounded to value_dtype, then to the compute type.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "quant/backend.h"
#include "quant/double_quant.h"
#include "quant/format.h"

namespace nibble {

// What a file says of a weight beside its value: kept, so that it is written back byte for byte.
struct StoredAs {
  DType storage = DType::u8;   // of the packed 4-bit codes
  DType absmax = DType::f32;   // of scales that are not nested
  DType absmax2 = DType::f32;  // of the scales of nested ones
  std::string json;            // the quant state's text
  bool has_order = true;       // int8: weight_format is there
  // bitsandbytes saved it after an evaluation on a CPU with AVX512-BF16: its scales went through
  // bf16, and plain ones came back transposed.
  bool after_eval = false;
};

struct Weight {
  Format format = Format::f32;
  int64_t out = 0, in = 0;
  Layout layout = Layout::flat;
  int64_t block = 64;              // elements that share a scale; coded formats
  DType value_dtype = DType::f32;  // what a decoded value is rounded to first ("dtype" in files)
  Tensor codes;                    // dense: (out, in) values; coded: u8, order by layout; blocks:
                                   // u8 (out, bytes of a row); int8: i8 (out, in)
  Tensor scales;                   // f32 absmax, a block or (int8) a row; undefined when nested
  std::optional<Nested> nested;
  // int8: linear layers computed in 16 bits quantize their input too, all but its values of at
  // least this size, as LLM.int8() does (0: all of them); backward, f32 and the head multiply by
  // the decoded weight. None: all do.
  std::optional<double> outlier_threshold;
  std::shared_ptr<const StoredAs> stored;  // null: not from a file

  bool coded() const { return rule_of(format).coded; }
  int64_t blocks() const { return (out * in + block - 1) / block; }
  WeightView view() const;
  int64_t bytes() const;  // of codes and scales, not of tables that weights share
};

struct QuantSpec {
  Format format = Format::nf4;
  int64_t block = 64;  // 32, 64, … 4096; 4-bit formats
  bool double_quant = true;
  std::optional<double> outlier_threshold;  // int8; see Weight

  bool operator==(const QuantSpec&) const = default;
};

// w (out, in) f32, bf16 or f16. `name` stands in messages. NaN or Inf is a UserError (exit 65) that
// names the element; a block size that is not offered, too. A dense format casts. Flat layout;
// value_dtype is the dtype of w; that of int8 is f32, and its values are rounded to f16 first, as
// transformers does, unless one is too large for it.
Weight quantize(const Backend& on, const Tensor& w, const QuantSpec& spec, std::string_view name,
                Purpose purpose = Purpose::weights);
// Wraps u8 (out, bytes of a row) as a file has them; in must be whole blocks.
Weight block_weight(Format format, Tensor blocks, int64_t in);
// Finite values (out, in) as blocks, bit for bit as ggml's reference encoders make them. A width
// that is no whole blocks, a scale that fits no f16: UserError.
Weight encode_blocks(const Backend& on, const Tensor& w, Format format, std::string_view name,
                     Purpose purpose = Purpose::weights);
Weight dense_weight(Tensor w);  // wraps (out, in) f32, bf16 or f16 values without a copy
// (out, in) in any float dtype, rounded to value_dtype on the way.
Tensor dequantize(const Backend& on, const Weight& w, DType to, Purpose purpose = Purpose::weights);
void dequantize_into(const Backend& on, const Weight& w, const Tensor& out);

// Panel order (kernels/table.h) lets a product load 16 outputs × 64 inputs at a time. It fits coded
// flat weights with in % block == 0 and block % 64 == 0. The way there and back changes no bit of
// codes or scales; nested scales stay nested.
bool panel_fits(const Weight& w);
Weight to_panel(const Backend& on, const Weight& w, Purpose purpose = Purpose::weights);
Weight to_flat(const Backend& on, const Weight& w, Purpose purpose = Purpose::weights);

}  // namespace nibble
