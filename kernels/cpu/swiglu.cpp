// The gated MLP's product (Shazeer 2020): out = silu(gate) up, silu(g) = g σ(g), σ the logistic.
//   dup = dy silu(g),  dgate = dy up σ(g) (1 + g (1 - σ(g)))
#include <cmath>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

constexpr int64_t kGrain = 4096;

double logistic(double g) { return 1 / (1 + std::exp(-g)); }

}  // namespace

void swiglu_fwd(Stream& stream, int64_t rows, int64_t cols, DType dtype, const void* gate,
                int64_t ldg, const void* up, int64_t ldu, void* out, int64_t ldo) {
  with_compute("swiglu_fwd", dtype, [&](auto tag) {
    using T = decltype(tag);
    for_spans(stream.pool(), rows, cols, kGrain, [&](int64_t r, int64_t begin, int64_t end) {
      const T* gates = static_cast<const T*>(gate) + r * ldg;
      const T* ups = static_cast<const T*>(up) + r * ldu;
      T* outs = static_cast<T*>(out) + r * ldo;
      for (int64_t c = begin; c < end; ++c) {
        const auto g = static_cast<double>(widen(gates[c]));
        outs[c] = narrow<T>(g * logistic(g) * static_cast<double>(widen(ups[c])));
      }
    });
  });
}

void swiglu_bwd(Stream& stream, int64_t rows, int64_t cols, DType dtype, const void* gate,
                int64_t ldg, const void* up, int64_t ldu, const void* dy, int64_t lddy, void* dgate,
                int64_t lddg, void* dup, int64_t lddu) {
  with_compute("swiglu_bwd", dtype, [&](auto tag) {
    using T = decltype(tag);
    for_spans(stream.pool(), rows, cols, kGrain, [&](int64_t r, int64_t begin, int64_t end) {
      const T* gates = static_cast<const T*>(gate) + r * ldg;
      const T* ups = static_cast<const T*>(up) + r * ldu;
      const T* grads = static_cast<const T*>(dy) + r * lddy;
      T* to_gate = static_cast<T*>(dgate) + r * lddg;
      T* to_up = static_cast<T*>(dup) + r * lddu;
      for (int64_t c = begin; c < end; ++c) {
        const auto g = static_cast<double>(widen(gates[c]));
        const auto u = static_cast<double>(widen(ups[c]));
        const auto d = static_cast<double>(widen(grads[c]));
        const double s = logistic(g);
        to_up[c] = narrow<T>(d * g * s);
        to_gate[c] = narrow<T>(d * u * s * (1 + g * (1 - s)));
      }
    });
  });
}

}  // namespace nibble::cpu::scalar
