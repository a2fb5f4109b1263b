// Logits scaled and, with a cap, bent so that none leaves (-cap, cap); before the softmax.
//   z' = cap tanh(scale z / cap),  dz'/dz = scale (1 - (z'/cap)²)
#include <cmath>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

constexpr int64_t kGrain = 4096;

template <class Body>
void with_acc(const char* row, DType acc, const Body& body) {
  if (acc == DType::f32) return body(float{});
  if (acc == DType::f64) return body(double{});
  refuse_dtype(row, acc);
}

}  // namespace

void shape_logits(Stream& stream, const LogitShape& shape, int64_t rows, int64_t vocab, DType acc,
                  void* z, int64_t ldz) {
  with_acc("shape_logits", acc, [&](auto tag) {
    using A = decltype(tag);
    for_spans(stream.pool(), rows, vocab, kGrain, [&](int64_t r, int64_t begin, int64_t end) {
      A* row = static_cast<A*>(z) + r * ldz;
      for (int64_t c = begin; c < end; ++c) {
        const double s = static_cast<double>(row[c]) * shape.scale;
        row[c] = static_cast<A>(shape.cap > 0 ? shape.cap * std::tanh(s / shape.cap) : s);
      }
    });
  });
}

void shape_logits_bwd(Stream& stream, const LogitShape& shape, int64_t rows, int64_t vocab,
                      DType acc, const void* z, int64_t ldz, void* dz, int64_t lddz) {
  with_acc("shape_logits_bwd", acc, [&](auto tag) {
    using A = decltype(tag);
    for_spans(stream.pool(), rows, vocab, kGrain, [&](int64_t r, int64_t begin, int64_t end) {
      const A* row = static_cast<const A*>(z) + r * ldz;
      A* grad = static_cast<A*>(dz) + r * lddz;
      for (int64_t c = begin; c < end; ++c) {
        const double t = shape.cap > 0 ? static_cast<double>(row[c]) / shape.cap : 0;
        grad[c] = static_cast<A>(static_cast<double>(grad[c]) * (shape.scale * (1 - t * t)));
      }
    });
  });
}

}  // namespace nibble::cpu::scalar
