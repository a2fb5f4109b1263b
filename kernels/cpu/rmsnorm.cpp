// RMSNorm (Zhang and Sennrich 2019), of every group of a row for itself.
//   y = x r w',  r = 1 / sqrt(mean(x²) + eps),  w' = w + offset
//   dx = r (dy w' - x r² mean(dy w' x)),  dw = sum over rows of dy x r
#include "kernels/cpu/group_norm.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::scalar {
namespace {

template <class T>
void input_gradient(int64_t width, const T* x, const Acc<T>* w, double offset, double r,
                    const T* dy, T* dx) {
  const auto weight = [&](int64_t c) { return shifted(w[c], offset); };
  double dot = 0;
  for (int64_t c = 0; c < width; ++c) dot += at(dy, c) * weight(c) * at(x, c);
  const double pull = r * r * dot / static_cast<double>(width);
  for (int64_t c = 0; c < width; ++c) {
    dx[c] = narrow<T>(r * (at(dy, c) * weight(c) - at(x, c) * pull));
  }
}

}  // namespace

void rmsnorm_fwd(Stream& stream, int64_t rows, int64_t groups, int64_t width, DType dtype,
                 const void* x, int64_t ldx, const void* w, int64_t ldw, double offset, double eps,
                 void* y, int64_t ldy, void* rstd) {
  with_compute("rmsnorm_fwd", dtype, [&](auto tag) {
    using T = decltype(tag);
    for_groups(stream.pool(), rows, groups, width, [&](int64_t r, int64_t g) {
      const T* in = static_cast<const T*>(x) + r * ldx + g * width;
      const auto* weight = static_cast<const Acc<T>*>(w) + g * ldw;
      T* out = static_cast<T*>(y) + r * ldy + g * width;
      double sum = 0;
      for (int64_t c = 0; c < width; ++c) sum += at(in, c) * at(in, c);
      // Rounded before it is used: the backward must see the r that made y.
      const auto inverse =
          static_cast<Acc<T>>(1 / std::sqrt(sum / static_cast<double>(width) + eps));
      if (rstd != nullptr) static_cast<Acc<T>*>(rstd)[r * groups + g] = inverse;
      for (int64_t c = 0; c < width; ++c) {
        out[c] = narrow<T>(at(in, c) * static_cast<double>(inverse) * shifted(weight[c], offset));
      }
    });
  });
}

void rmsnorm_bwd(Stream& stream, int64_t rows, int64_t groups, int64_t width, DType dtype,
                 const void* x, int64_t ldx, const void* w, int64_t ldw, double offset,
                 const void* rstd, const void* dy, int64_t lddy, void* dx, int64_t lddx, void* dw) {
  with_compute("rmsnorm_bwd", dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* in = static_cast<const T*>(x);
    const T* grad = static_cast<const T*>(dy);
    const auto* scale = static_cast<const Acc<T>*>(rstd);
    if (dw != nullptr) {  // before dx, which may overwrite dy
      sum_into_weights(stream.pool(), rows, groups, width, ldw, static_cast<Acc<T>*>(dw),
                       [&](int64_t r, int64_t g, int64_t c) {
                         return at(grad + r * lddy, g * width + c) *
                                at(in + r * ldx, g * width + c) *
                                static_cast<double>(scale[r * groups + g]);
                       });
    }
    if (dx == nullptr) return;
    for_groups(stream.pool(), rows, groups, width, [&](int64_t r, int64_t g) {
      input_gradient(width, in + r * ldx + g * width, static_cast<const Acc<T>*>(w) + g * ldw,
                     offset, static_cast<double>(scale[r * groups + g]),
                     grad + r * lddy + g * width, static_cast<T*>(dx) + r * lddx + g * width);
    });
  });
}

}  // namespace nibble::cpu::scalar
