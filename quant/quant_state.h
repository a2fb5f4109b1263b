// A 4-bit weight as bitsandbytes and transformers store it: packed codes under the weight's own
// name, scales and a small JSON beside it. What is read is written back byte for byte: the dtypes
// of the codes' bytes and of the scales, and the JSON's text.
//
//   weight                                 u8 ((n + 1) / 2, 1), or the same bytes as bf16, f16, f32
//   weight.absmax                          f32, bf16 or f16 (blocks), or u8 (blocks) when nested
//   weight.quant_map                       f32 (16), the format's table
//   weight.nested_absmax                   f32 (ceil(blocks / nested block))   nested only
//   weight.nested_quant_map                f32 (256)                           nested only
//   weight.quant_state.bitsandbytes__nf4   u8, a JSON text; __fp4 for FP4
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "quant/named_tensors.h"
#include "quant/weight.h"

namespace nibble {

// Where the tensors come from, by full name.
struct TensorSource {
  std::string file;                                // for messages; may be empty
  std::vector<std::string> names;                  // all there are
  std::function<Tensor(std::string_view)> tensor;  // one of `names`
};

// Whether the matrix `prefix`weight ("model.layers.0.mlp.up_proj.weight") is a 4-bit one.
bool has_quant_state(std::string_view prefix, const std::vector<std::string>& names);

// `prefix` ends with a dot or is empty. out and in are what the model's config says; -1 takes the
// file's. Tensors are taken over without a copy where they are aligned. Unknown keys and values,
// shapes, dtypes and codes that do not fit together are UserErrors (exit 65) that name the tensor
// and both values.
//
// bitsandbytes' CPU kernel for evaluation (AVX512-BF16) leaves its own copy of the scales in what
// is saved afterwards: rounded to bf16 and, not nested, transposed to (in / block, out). That shape
// says so, and the scales are turned back; `stored->after_eval` is set for the caller to warn.
Weight read_quant_state(const Backend& on, std::string_view prefix, const TensorSource& source,
                        int64_t out, int64_t in, Purpose purpose = Purpose::weights);

// In the order bitsandbytes writes, flat layout only (to_flat first). `storage` is the dtype the
// packed bytes are given, none: as they were read, u8 otherwise. Readers other than bitsandbytes
// want u8; a dtype that does not divide the bytes is a UserError.
NamedTensors write_quant_state(const Backend& on, std::string_view prefix, const Weight& w,
                               std::optional<DType> storage = {});
// The most bytes that the JSON of a weight of this shape takes.
int64_t quant_state_bytes(const QuantSpec& spec, int64_t out, int64_t in);

}  // namespace nibble
