#include "quant/state_reader.h"

#include <algorithm>
#include <cstring>

#include "base/errors.h"

namespace nibble {

void StateReader::fail(std::string_view key, const std::string& what, std::string hint) const {
  throw UserError(source.file, cat(prefix, key, ": ", what), std::move(hint), Exit::bad_data);
}

bool StateReader::has(std::string_view key) const {
  const std::string name = cat(prefix, key);
  return std::find(source.names.begin(), source.names.end(), name) != source.names.end();
}

Tensor StateReader::get(std::string_view key) const {
  if (!has(key)) fail(key, cat("this tensor of ", kind, " weight is missing"));
  return source.tensor(cat(prefix, key));
}

Tensor StateReader::get(std::string_view key, DType dtype, int64_t numel, Purpose purpose) const {
  Tensor t = get(key);
  if (t.dtype() != dtype)
    fail(key, cat("its dtype is ", name_of(t.dtype()), ", not ", name_of(dtype)));
  if (t.numel() != numel)
    fail(key, cat("it has ", t.numel(), " entries, the weight needs ", numel));
  return aligned(t.reshape({numel}), purpose);
}

Tensor StateReader::aligned(const Tensor& t, Purpose purpose) const {
  if (reinterpret_cast<uintptr_t>(t.raw()) % static_cast<size_t>(size_of(t.dtype())) == 0) return t;
  Tensor copy = Tensor::empty(on.memory, t.shape(), t.dtype(), purpose);
  std::memcpy(copy.raw(), t.raw(), static_cast<size_t>(t.bytes()));
  return copy;
}

void StateReader::check_finite(std::string_view key, const Tensor& values) const {
  int64_t index = -1;
  on.k.find_nonfinite(on.stream, values.numel(), values.dtype(), values.raw(), &index);
  on.stream.wait();
  if (index >= 0) fail(key, cat("entry ", index, " is NaN or Inf"));
}

Tensor StateReader::widened(const Tensor& x, Purpose purpose) const {
  if (x.dtype() == DType::f32) return x;
  const int64_t n = x.numel();
  Tensor wide = Tensor::empty(on.memory, {n}, DType::f32, purpose);
  on.k.cast(on.stream, 1, n, x.dtype(), x.raw(), n, DType::f32, wide.raw(), n);
  return wide;
}

void StateReader::check_shape(std::string_view key, int64_t has_out, int64_t has_in, int64_t out,
                              int64_t in) const {
  if ((out < 0 || out == has_out) && (in < 0 || in == has_in)) return;
  fail(key,
       cat("the weight is (", has_out, ", ", has_in, "), the model's config makes it (", out, ", ",
           in, ")"),
       "config.json and the tensors belong to different models");
}

}  // namespace nibble
