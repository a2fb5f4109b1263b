// What the scalar attention rows share: which keys a row sees, what a score is, and in which order
// the keys are walked. A row's keys come in tiles of 64 counted from its document's start, so that
// a window, a chunk of a prompt or a page of a cache never moves a tile's border.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/table.h"

namespace nibble::cpu::scalar {

constexpr int64_t kTileKeys = 64;
constexpr int64_t kSpanKeys = 512;
constexpr int64_t kMaxHeadDim = 1024;

// Keys [begin, end) of a document that its row `row` sees, of `keys` there are.
struct KeyRange {
  int64_t begin, end;
};

inline KeyRange visible_keys(const AttentionShape& a, int64_t row, int64_t keys) {
  const int64_t begin = a.window > 0 ? std::max<int64_t>(0, row + 1 - a.window) : 0;
  return {begin, a.causal ? std::min(row + 1, keys) : keys};
}

// The document a packed row lies in: the last s with cu[s] <= row, empty ones passed over.
inline int64_t segment_of(int64_t segments, const int32_t* cu, int64_t row) {
  return std::upper_bound(cu, cu + segments + 1, row) - cu - 1;
}

inline double score(const AttentionShape& a, const double* q, const double* k) {
  double dot = 0;
  for (int64_t d = 0; d < a.head_dim; ++d) dot += q[d] * k[d];
  const double s = dot * a.scale;
  return a.softcap > 0 ? a.softcap * std::tanh(s / a.softcap) : s;
}

// Element `at` and the n - 1 after it of x, as doubles; and back, rounded once.
void widen(DType dtype, const void* x, int64_t at, int64_t n, double* out);
void narrow(DType dtype, const double* x, int64_t n, void* out, int64_t at);

}  // namespace nibble::cpu::scalar
