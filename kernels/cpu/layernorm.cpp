// Layer normalisation (Ba et al. 2016), of every group of a row for itself. With n = (x - mean) r:
//   y = n w + b,  r = 1 / sqrt(mean((x - mean)²) + eps)
//   dx = r (g - mean(g) - n mean(g n)), g = dy w;  dw = sum over rows of dy n,  db = sum of dy
#include "kernels/cpu/group_norm.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::scalar {
namespace {

// Both rounded before they are used: the backward must see the numbers that made y.
template <class A>
struct Statistics {
  A mean, rstd;
};

// Two passes: one would lose the digits that the squares of a large mean take.
template <class T>
Statistics<Acc<T>> statistics(int64_t width, const T* x, double eps) {
  double sum = 0, squares = 0;
  for (int64_t c = 0; c < width; ++c) sum += at(x, c);
  const auto mean = static_cast<Acc<T>>(sum / static_cast<double>(width));
  for (int64_t c = 0; c < width; ++c) {
    const double d = at(x, c) - static_cast<double>(mean);
    squares += d * d;
  }
  const double variance = squares / static_cast<double>(width);
  return {mean, static_cast<Acc<T>>(1 / std::sqrt(variance + eps))};
}

template <class T>
void input_gradient(int64_t width, const T* x, const Acc<T>* w, double mean, double r, const T* dy,
                    T* dx) {
  double sum = 0, dot = 0;
  for (int64_t c = 0; c < width; ++c) {
    const double g = at(dy, c) * static_cast<double>(w[c]);
    sum += g;
    dot += g * ((at(x, c) - mean) * r);
  }
  const double shift = sum / static_cast<double>(width), pull = dot / static_cast<double>(width);
  for (int64_t c = 0; c < width; ++c) {
    const double g = at(dy, c) * static_cast<double>(w[c]);
    dx[c] = narrow<T>(r * (g - shift - (at(x, c) - mean) * r * pull));
  }
}

}  // namespace

void layernorm_fwd(Stream& stream, int64_t rows, int64_t groups, int64_t width, DType dtype,
                   const void* x, int64_t ldx, const void* w, const void* b, int64_t ldw,
                   double eps, void* y, int64_t ldy, void* mean, void* rstd) {
  with_compute("layernorm_fwd", dtype, [&](auto tag) {
    using T = decltype(tag);
    using A = Acc<T>;
    for_groups(stream.pool(), rows, groups, width, [&](int64_t r, int64_t g) {
      const T* in = static_cast<const T*>(x) + r * ldx + g * width;
      T* out = static_cast<T*>(y) + r * ldy + g * width;
      const A* weight = static_cast<const A*>(w) + g * ldw;
      const A* bias = b == nullptr ? nullptr : static_cast<const A*>(b) + g * ldw;
      const Statistics<A> s = statistics(width, in, eps);
      if (mean != nullptr) static_cast<A*>(mean)[r * groups + g] = s.mean;
      if (rstd != nullptr) static_cast<A*>(rstd)[r * groups + g] = s.rstd;
      for (int64_t c = 0; c < width; ++c) {
        const double n = (at(in, c) - static_cast<double>(s.mean)) * static_cast<double>(s.rstd);
        const double plain = n * static_cast<double>(weight[c]);
        out[c] = narrow<T>(bias == nullptr ? plain : plain + static_cast<double>(bias[c]));
      }
    });
  });
}

void layernorm_bwd(Stream& stream, int64_t rows, int64_t groups, int64_t width, DType dtype,
                   const void* x, int64_t ldx, const void* w, int64_t ldw, const void* mean,
                   const void* rstd, const void* dy, int64_t lddy, void* dx, int64_t lddx, void* dw,
                   void* db) {
  with_compute("layernorm_bwd", dtype, [&](auto tag) {
    using T = decltype(tag);
    using A = Acc<T>;
    const auto value = [&](int64_t r, int64_t c) {
      return at(static_cast<const T*>(x) + r * ldx, c);
    };
    const auto grad = [&](int64_t r, int64_t c) {
      return at(static_cast<const T*>(dy) + r * lddy, c);
    };
    const auto mean_of = [&](int64_t i) { return at(static_cast<const A*>(mean), i); };
    const auto rstd_of = [&](int64_t i) { return at(static_cast<const A*>(rstd), i); };
    if (dw != nullptr) {  // before dx, which may overwrite dy
      sum_into_weights(stream.pool(), rows, groups, width, ldw, static_cast<A*>(dw),
                       [&](int64_t r, int64_t g, int64_t c) {
                         const int64_t i = r * groups + g, at = g * width + c;
                         return grad(r, at) * ((value(r, at) - mean_of(i)) * rstd_of(i));
                       });
    }
    if (db != nullptr) {
      sum_into_weights(stream.pool(), rows, groups, width, ldw, static_cast<A*>(db),
                       [&](int64_t r, int64_t g, int64_t c) { return grad(r, g * width + c); });
    }
    if (dx == nullptr) return;
    for_groups(stream.pool(), rows, groups, width, [&](int64_t r, int64_t g) {
      const int64_t i = r * groups + g, begin = g * width;
      input_gradient(width, static_cast<const T*>(x) + r * ldx + begin,
                     static_cast<const A*>(w) + g * ldw, mean_of(i), rstd_of(i),
                     static_cast<const T*>(dy) + r * lddy + begin,
                     static_cast<T*>(dx) + r * lddx + begin);
    });
  });
}

}  // namespace nibble::cpu::scalar
