// The loss of a row of logits: nll = lse - logits[label], lse = max + log(sum of exp(logit - max)),
// the vocabulary walked from the first entry to the last. A label below 0 costs nothing and pulls
// at nothing; its row's lse is still written.
#include <cmath>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

template <class Body>
void with_acc(const char* row, DType acc, const Body& body) {
  if (acc == DType::f32) return body(float{});
  if (acc == DType::f64) return body(double{});
  refuse_dtype(row, acc);
}

}  // namespace

void cross_entropy_fwd(Stream& stream, int64_t rows, int64_t vocab, DType acc, const void* logits,
                       int64_t ldl, const int32_t* labels, void* nll, void* lse) {
  with_acc("cross_entropy_fwd", acc, [&](auto tag) {
    using A = decltype(tag);
    for_rows(stream.pool(), rows, vocab, 2048, [&](int64_t r) {
      const A* row = static_cast<const A*>(logits) + r * ldl;
      A largest = row[0];
      for (int64_t c = 1; c < vocab; ++c) largest = std::max(largest, row[c]);
      double sum = 0;
      for (int64_t c = 0; c < vocab; ++c) {
        sum += std::exp(static_cast<double>(row[c]) - static_cast<double>(largest));
      }
      const double total = static_cast<double>(largest) + std::log(sum);
      static_cast<A*>(lse)[r] = static_cast<A>(total);
      const int32_t label = labels[r];
      static_cast<A*>(nll)[r] =
          label < 0 ? A{0} : static_cast<A>(total - static_cast<double>(row[label]));
    });
  });
}

void cross_entropy_bwd(Stream& stream, int64_t rows, int64_t vocab, DType acc, void* logits,
                       int64_t ldl, const int32_t* labels, const void* lse, const void* dnll) {
  with_acc("cross_entropy_bwd", acc, [&](auto tag) {
    using A = decltype(tag);
    for_rows(stream.pool(), rows, vocab, 2048, [&](int64_t r) {
      A* row = static_cast<A*>(logits) + r * ldl;
      const auto total = static_cast<double>(static_cast<const A*>(lse)[r]);
      const double upstream =
          labels[r] < 0 ? 0.0 : static_cast<double>(static_cast<const A*>(dnll)[r]);
      for (int64_t c = 0; c < vocab; ++c) {
        const double p = std::exp(static_cast<double>(row[c]) - total);
        row[c] = static_cast<A>((p - (c == labels[r] ? 1.0 : 0.0)) * upstream);
      }
    });
  });
}

}  // namespace nibble::cpu::scalar
