// What the readers of stored weights share: a tensor by its name below a prefix, of the dtype and
// length it must have, or a mistake that names it.
#pragma once

#include <string>
#include <string_view>

#include "quant/quant_state.h"

namespace nibble {

struct StateReader {
  static constexpr const char* kCure =
      "the file is damaged or was not written by bitsandbytes: fetch it again, or quantize the "
      "16-bit model with nibble quantize";

  const Backend& on;
  const TensorSource& source;
  std::string prefix;  // with its dot
  const char* kind;    // "4-bit"

  [[noreturn]] void fail(std::string_view key, const std::string& what,
                         std::string hint = kCure) const;
  bool has(std::string_view key) const;
  Tensor get(std::string_view key) const;  // missing: a mistake
  // One dimension, at an address its type allows: files align only bytes.
  Tensor get(std::string_view key, DType dtype, int64_t numel, Purpose purpose) const;
  Tensor aligned(const Tensor& t, Purpose purpose) const;
  void check_finite(std::string_view key, const Tensor& values) const;
  Tensor widened(const Tensor& x, Purpose purpose) const;  // f32
  void check_shape(std::string_view key, int64_t has_out, int64_t has_in, int64_t out,
                   int64_t in) const;
};

}  // namespace nibble
