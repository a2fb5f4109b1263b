// Puts the keys and values of new tokens into the slots of the paged cache.
#include <algorithm>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

// Row `row` of x (n elements of `from`) to element `at` of a cache of `to`, by chunks of doubles,
// which hold every value of the narrower types exactly.
void store_row(DType from, const void* x, int64_t at_x, int64_t n, DType to, void* cache,
               int64_t at) {
  double chunk[kMaxHeadDim];
  for (int64_t i = 0; i < n; i += kMaxHeadDim) {
    const int64_t m = std::min(n - i, kMaxHeadDim);
    widen(from, x, at_x + i, m, chunk);
    narrow(to, chunk, m, cache, at + i);
  }
}

}  // namespace

void kv_write(Stream& stream, int64_t tokens, int64_t width, DType dtype, const void* k,
              int64_t ldk, const void* v, int64_t ldv, const int64_t* slots, const PagedKv& kv) {
  stream.pool().parallel_for(tokens, 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      store_row(dtype, k, t * ldk, width, kv.dtype, kv.keys, slots[t] * width);
      store_row(dtype, v, t * ldv, width, kv.dtype, kv.values, slots[t] * width);
    }
  });
}

}  // namespace nibble::cpu::scalar
