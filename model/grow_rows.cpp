#include "model/grow_rows.h"

#include <algorithm>
#include <cstring>

#include "base/errors.h"

namespace nibble {

Tensor grow_rows(const Device& device, const Tensor& x, int64_t rows, Purpose purpose) {
  const bool vector = x.shape().rank == 1;
  const int64_t n = x.dim(0), width = vector ? 1 : x.cols();
  check(x.contiguous() && 0 < n && n <= rows, "grow_rows: a contiguous table that is not larger");
  const KernelTable& k = device.kernels();
  Memory& memory = device.memory();
  const int64_t piece = std::min<int64_t>(n, 1024);
  Tensor wide = Tensor::empty(memory, {piece, width}, DType::f64, Purpose::staging);
  Tensor mean = Tensor::zeros(memory, {1, width}, DType::f64, Purpose::staging);
  const auto row_at = [&](const Tensor& t, int64_t row) {
    return t.data<char>() + row * width * size_of(t.dtype());
  };
  for (int64_t at = 0; at < n; at += piece) {
    const int64_t count = std::min(piece, n - at);
    k.cast(device.stream(), count, width, x.dtype(), row_at(x, at), width, DType::f64, wide.raw(),
           width);
    device.stream().pool().parallel_for(width, 64, [&](int64_t begin, int64_t end) {
      for (int64_t r = 0; r < count; ++r)
        for (int64_t c = begin; c < end; ++c)
          mean.data<double>()[c] += wide.data<double>()[r * width + c];
    });
  }
  for (int64_t c = 0; c < width; ++c) mean.data<double>()[c] /= static_cast<double>(n);
  const Shape shape = vector ? Shape{rows} : Shape{rows, width};
  Tensor y = Tensor::empty(memory, shape, x.dtype(), purpose);
  std::memcpy(y.raw(), x.raw(), static_cast<size_t>(x.bytes()));
  for (int64_t r = n; r < rows; ++r)
    k.cast(device.stream(), 1, width, DType::f64, mean.raw(), width, y.dtype(), row_at(y, r),
           width);
  return y;
}

}  // namespace nibble
