// What the two normalisations share: a row is groups of `width` elements, and the gradient of a
// weight that several groups share is a sum over rows and, in each, over those groups.
#pragma once

#include <cmath>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {

template <class T>
double at(const T* x, int64_t i) {
  return static_cast<double>(widen(x[i]));
}

// w + offset, rounded to w's type; w itself, a -0 too, where there is none.
template <class A>
double shifted(A w, double offset) {
  return static_cast<double>(offset == 0 ? w : w + static_cast<A>(offset));
}

template <class Body>
void for_groups(ThreadPool& pool, int64_t rows, int64_t groups, int64_t width, const Body& body) {
  for_rows(pool, rows, groups * width, 8192, [&](int64_t r) {
    for (int64_t g = 0; g < groups; ++g) body(r, g);
  });
}

// dw[g × ldw + c] += sum of term(r, g, c): threads share the columns, rows come in order.
template <class A, class Term>
void sum_into_weights(ThreadPool& pool, int64_t rows, int64_t groups, int64_t width, int64_t ldw,
                      A* dw, const Term& term) {
  constexpr int64_t kTile = 64;
  const int64_t sharing = ldw == 0 ? groups : 1;  // groups behind one weight
  const int64_t tiles = (width + kTile - 1) / kTile;
  for_rows(pool, groups / sharing * tiles, kTile * rows * sharing, 16384, [&](int64_t tile) {
    const int64_t first = tile / tiles, begin = tile % tiles * kTile;
    const int64_t n = std::min(kTile, width - begin);
    double sum[kTile] = {};
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t g = first; g < first + sharing; ++g) {
        for (int64_t c = 0; c < n; ++c) sum[c] += term(r, g, begin + c);
      }
    }
    A* out = dw + first * ldw + begin;
    for (int64_t c = 0; c < n; ++c) out[c] = static_cast<A>(static_cast<double>(out[c]) + sum[c]);
  });
}

}  // namespace nibble::cpu::scalar
