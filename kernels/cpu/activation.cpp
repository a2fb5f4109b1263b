// What stands between the two products of an MLP: y = act(x), or with a gate out = act(gate) up
// (Shazeer 2020). The backward needs act and its slope:
//   dx = dy act'(x);  dup = dy act(gate),  dgate = dy up act'(gate)
#include <cmath>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

constexpr int64_t kGrain = 4096;

struct Point {
  double value, slope;
};

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

// x σ(x) (Elfwing et al. 2017).
struct Silu {
  Point operator()(double x) const {
    const double s = logistic(x);
    return {x * s, s * (1 + x * (1 - s))};
  }
};

// x Φ(x), Φ the normal distribution's (Hendrycks and Gimpel 2016). By erfc: far below zero 1 + erf
// has no digits left.
struct Gelu {
  Point operator()(double x) const {
    const double phi = 0.5 * std::erfc(-x * M_SQRT1_2);
    const double density = std::exp(-0.5 * x * x) * (0.5 * M_SQRT1_2 * M_2_SQRTPI);
    return {x * phi, phi + x * density};
  }
};

// x (1 + tanh(z/2)) / 2 = x σ(z), z = √(8/π) (x + 0.044715 x³): the same paper's approximation.
struct GeluTanh {
  Point operator()(double x) const {
    constexpr double kScale = M_SQRT2 * M_2_SQRTPI, kCubic = 0.044715;
    const double s = logistic(kScale * (x + kCubic * x * x * x));
    return {x * s, s + x * s * (1 - s) * kScale * (1 + 3 * kCubic * x * x)};
  }
};

// Comparisons are such that a NaN comes through.
struct Relu {
  Point operator()(double x) const { return x < 0 ? Point{0, 0} : Point{x, x > 0 ? 1.0 : 0.0}; }
};

struct Relu2 {
  Point operator()(double x) const { return x < 0 ? Point{0, 0} : Point{x * x, 2 * x}; }
};

template <class Body>
void with_activation(Activation activation, const Body& body) {
  switch (activation) {
    case Activation::silu:
      return body(Silu{});
    case Activation::gelu:
      return body(Gelu{});
    case Activation::gelu_tanh:
      return body(GeluTanh{});
    case Activation::relu:
      return body(Relu{});
    case Activation::relu2:
      return body(Relu2{});
  }
}

template <class T>
double at(const T* x, int64_t i) {
  return static_cast<double>(widen(x[i]));
}

// Calls span(act, value of T, row, begin, end) for pieces of the matrix.
template <class Span>
void for_spans_of(const char* row, Stream& stream, Activation activation, int64_t rows,
                  int64_t cols, DType dtype, const Span& span) {
  with_activation(activation, [&](auto act) {
    with_compute(row, dtype, [&](auto tag) {
      for_spans(stream.pool(), rows, cols, kGrain,
                [&](int64_t r, int64_t begin, int64_t end) { span(act, tag, r, begin, end); });
    });
  });
}

}  // namespace

void gated_fwd(Stream& stream, Activation activation, int64_t rows, int64_t cols, DType dtype,
               const void* gate, int64_t ldg, const void* up, int64_t ldu, void* out, int64_t ldo) {
  for_spans_of("gated_fwd", stream, activation, rows, cols, dtype,
               [&](auto act, auto tag, int64_t r, int64_t begin, int64_t end) {
                 using T = decltype(tag);
                 const T* gates = static_cast<const T*>(gate) + r * ldg;
                 const T* ups = static_cast<const T*>(up) + r * ldu;
                 T* outs = static_cast<T*>(out) + r * ldo;
                 for (int64_t c = begin; c < end; ++c) {
                   outs[c] = narrow<T>(act(at(gates, c)).value * at(ups, c));
                 }
               });
}

void gated_bwd(Stream& stream, Activation activation, int64_t rows, int64_t cols, DType dtype,
               const void* gate, int64_t ldg, const void* up, int64_t ldu, const void* dy,
               int64_t lddy, void* dgate, int64_t lddg, void* dup, int64_t lddu) {
  for_spans_of("gated_bwd", stream, activation, rows, cols, dtype,
               [&](auto act, auto tag, int64_t r, int64_t begin, int64_t end) {
                 using T = decltype(tag);
                 const T* gates = static_cast<const T*>(gate) + r * ldg;
                 const T* ups = static_cast<const T*>(up) + r * ldu;
                 const T* grads = static_cast<const T*>(dy) + r * lddy;
                 T* to_gate = static_cast<T*>(dgate) + r * lddg;
                 T* to_up = static_cast<T*>(dup) + r * lddu;
                 for (int64_t c = begin; c < end; ++c) {
                   const Point p = act(at(gates, c));
                   const double u = at(ups, c), d = at(grads, c);
                   to_up[c] = narrow<T>(d * p.value);
                   to_gate[c] = narrow<T>(d * u * p.slope);
                 }
               });
}

void activation_fwd(Stream& stream, Activation activation, int64_t rows, int64_t cols, DType dtype,
                    const void* x, int64_t ldx, void* y, int64_t ldy) {
  for_spans_of("activation_fwd", stream, activation, rows, cols, dtype,
               [&](auto act, auto tag, int64_t r, int64_t begin, int64_t end) {
                 using T = decltype(tag);
                 const T* in = static_cast<const T*>(x) + r * ldx;
                 T* out = static_cast<T*>(y) + r * ldy;
                 for (int64_t c = begin; c < end; ++c) out[c] = narrow<T>(act(at(in, c)).value);
               });
}

void activation_bwd(Stream& stream, Activation activation, int64_t rows, int64_t cols, DType dtype,
                    const void* x, int64_t ldx, const void* dy, int64_t lddy, void* dx,
                    int64_t lddx) {
  for_spans_of("activation_bwd", stream, activation, rows, cols, dtype,
               [&](auto act, auto tag, int64_t r, int64_t begin, int64_t end) {
                 using T = decltype(tag);
                 const T* in = static_cast<const T*>(x) + r * ldx;
                 const T* grads = static_cast<const T*>(dy) + r * lddy;
                 T* out = static_cast<T*>(dx) + r * lddx;
                 for (int64_t c = begin; c < end; ++c) {
                   out[c] = narrow<T>(at(grads, c) * act(at(in, c)).slope);
                 }
               });
}

}  // namespace nibble::cpu::scalar
