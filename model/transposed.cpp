#include "model/transposed.h"

#include <algorithm>
#include <cstring>

#include "base/errors.h"

namespace nibble {
namespace {

// In squares that stay in cache, whatever an element's bytes mean.
template <class T>
void turn(const Tensor& x, const Tensor& y, int64_t begin, int64_t end) {
  constexpr int64_t kSide = 64;
  const T* from = static_cast<const T*>(x.raw());
  T* to = static_cast<T*>(y.raw());
  const int64_t rows = x.rows();
  for (int64_t r0 = 0; r0 < rows; r0 += kSide)
    for (int64_t c = begin; c < end; ++c)
      for (int64_t r = r0; r < std::min(rows, r0 + kSide); ++r)
        to[c * rows + r] = from[r * x.pitch() + c];
}

}  // namespace

Tensor transposed(const Device& device, const Tensor& x, Purpose purpose) {
  check_eq(x.shape().rank, 2, "transposed: rank");
  Tensor y = Tensor::empty(device.memory(), {x.cols(), x.rows()}, x.dtype(), purpose);
  const int64_t size = size_of(x.dtype());
  device.stream().pool().parallel_for(x.cols(), 64, [&](int64_t begin, int64_t end) {
    if (size == 4) turn<uint32_t>(x, y, begin, end);
    if (size == 2) turn<uint16_t>(x, y, begin, end);
    if (size == 8) turn<uint64_t>(x, y, begin, end);
    if (size == 1) turn<uint8_t>(x, y, begin, end);
  });
  return y;
}

}  // namespace nibble
