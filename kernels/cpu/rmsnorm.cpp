// RMSNorm (Zhang and Sennrich 2019).
//   y = x r w,  r = 1 / sqrt(mean(x²) + eps)
//   dx = r (dy w - x r² mean(dy w x)),  dw = sum over rows of dy x r
#include <cmath>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

template <class T>
double at(const T* x, int64_t i) {
  return static_cast<double>(widen(x[i]));
}

template <class T>
void input_gradient(int64_t cols, const T* x, const Acc<T>* w, double r, const T* dy, T* dx) {
  double dot = 0;
  for (int64_t c = 0; c < cols; ++c) dot += at(dy, c) * at(w, c) * at(x, c);
  const double pull = r * r * dot / static_cast<double>(cols);
  for (int64_t c = 0; c < cols; ++c) {
    dx[c] = narrow<T>(r * (at(dy, c) * at(w, c) - at(x, c) * pull));
  }
}

// Columns [begin, begin + width) of dw, rows in order.
template <class T>
void weight_gradient(int64_t rows, int64_t width, const T* x, int64_t ldx, const Acc<T>* rstd,
                     const T* dy, int64_t lddy, Acc<T>* dw) {
  double sum[64] = {};
  for (int64_t r = 0; r < rows; ++r) {
    const double scale = static_cast<double>(rstd[r]);
    for (int64_t c = 0; c < width; ++c) sum[c] += at(dy + r * lddy, c) * at(x + r * ldx, c) * scale;
  }
  for (int64_t c = 0; c < width; ++c) {
    dw[c] = static_cast<Acc<T>>(static_cast<double>(dw[c]) + sum[c]);
  }
}

}  // namespace

void rmsnorm_fwd(Stream& stream, int64_t rows, int64_t cols, DType dtype, const void* x,
                 int64_t ldx, const void* w, double eps, void* y, int64_t ldy, void* rstd) {
  with_compute("rmsnorm_fwd", dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto* weight = static_cast<const Acc<T>*>(w);
    for_rows(stream.pool(), rows, cols, 8192, [&](int64_t r) {
      const T* in = static_cast<const T*>(x) + r * ldx;
      T* out = static_cast<T*>(y) + r * ldy;
      double sum = 0;
      for (int64_t c = 0; c < cols; ++c) sum += at(in, c) * at(in, c);
      // Rounded before it is used: the backward must see the r that made y.
      const auto inverse =
          static_cast<Acc<T>>(1 / std::sqrt(sum / static_cast<double>(cols) + eps));
      if (rstd != nullptr) static_cast<Acc<T>*>(rstd)[r] = inverse;
      for (int64_t c = 0; c < cols; ++c) {
        out[c] = narrow<T>(at(in, c) * static_cast<double>(inverse) * at(weight, c));
      }
    });
  });
}

void rmsnorm_bwd(Stream& stream, int64_t rows, int64_t cols, DType dtype, const void* x,
                 int64_t ldx, const void* w, const void* rstd, const void* dy, int64_t lddy,
                 void* dx, int64_t lddx, void* dw) {
  constexpr int64_t kTile = 64;
  with_compute("rmsnorm_bwd", dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* in = static_cast<const T*>(x);
    const T* grad = static_cast<const T*>(dy);
    const auto* scale = static_cast<const Acc<T>*>(rstd);
    if (dw != nullptr) {  // before dx, which may overwrite dy
      const int64_t tiles = (cols + kTile - 1) / kTile;
      for_rows(stream.pool(), tiles, kTile * rows, 16384, [&](int64_t tile) {
        const int64_t begin = tile * kTile;
        weight_gradient(rows, std::min(kTile, cols - begin), in + begin, ldx, scale, grad + begin,
                        lddy, static_cast<Acc<T>*>(dw) + begin);
      });
    }
    if (dx == nullptr) return;
    for_rows(stream.pool(), rows, cols, 8192, [&](int64_t r) {
      input_gradient(cols, in + r * ldx, static_cast<const Acc<T>*>(w),
                     static_cast<double>(scale[r]), grad + r * lddy,
                     static_cast<T*>(dx) + r * lddx);
    });
  });
}

}  // namespace nibble::cpu::scalar
