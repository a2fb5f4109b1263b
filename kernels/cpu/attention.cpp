// Attention forward, for packed documents and for a paged cache: one walk over the keys serves
// both, so a token's output has the same bits whether it was trained, prefilled in chunks or
// decoded.
#include "kernels/cpu/attention.h"

#include <cstring>
#include <limits>

#include "base/errors.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

// A softmax-weighted sum of values in the making: the largest score so far, and the sum of weights
// and of weighted values relative to it.
struct Partial {
  double max = kNone, sum = 0;
  double values[kMaxHeadDim];

  void clear(int64_t head_dim) {
    max = kNone;
    sum = 0;
    std::fill_n(values, head_dim, 0.0);
  }

  // Makes room for scores up to `top`: what was summed shrinks by exp(max - top).
  void raise(double top, int64_t head_dim) {
    const double shrink = max == kNone ? 0.0 : std::exp(max - top);
    sum *= shrink;
    for (int64_t d = 0; d < head_dim; ++d) values[d] *= shrink;
    max = top;
  }

  void join(const Partial& other, int64_t head_dim) {
    // A span that saw no key has no weight at all; one that saw only NaN has a NaN, and is heard.
    if (other.sum == 0) return;
    const double top = std::max(max, other.max);
    raise(top, head_dim);
    const double weight = std::exp(other.max - top);
    sum += other.sum * weight;
    for (int64_t d = 0; d < head_dim; ++d) values[d] += other.values[d] * weight;
  }
};

// Keys [begin, end) of one tile join the span: key(j, x) and value(j, x) widen row j into x.
template <class Key, class Value>
void add_tile(const AttentionShape& a, const double* q, int64_t begin, int64_t end, const Key& key,
              const Value& value, Partial& span) {
  double s[kTileKeys], x[kMaxHeadDim];
  double top = span.max;
  for (int64_t j = begin; j < end; ++j) {
    key(j, x);
    s[j - begin] = score(a, q, x);
    top = std::max(top, s[j - begin]);
  }
  span.raise(top, a.head_dim);
  for (int64_t j = begin; j < end; ++j) {
    const double p = std::exp(s[j - begin] - top);
    span.sum += p;
    value(j, x);
    for (int64_t d = 0; d < a.head_dim; ++d) span.values[d] += p * x[d];
  }
}

template <class Key, class Value>
void attend(const AttentionShape& a, const double* q, KeyRange keys, const Key& key,
            const Value& value, Partial& total) {
  Partial span;
  total.clear(a.head_dim);
  for (int64_t s = keys.begin / kSpanKeys * kSpanKeys; s < keys.end; s += kSpanKeys) {
    span.clear(a.head_dim);
    for (int64_t t = s; t < std::min(s + kSpanKeys, keys.end); t += kTileKeys) {
      const int64_t begin = std::max(t, keys.begin), end = std::min(t + kTileKeys, keys.end);
      if (begin < end) add_tile(a, q, begin, end, key, value, span);
    }
    total.join(span, a.head_dim);
  }
}

void store(const AttentionShape& a, Partial& total, DType dtype, void* out, int64_t at) {
  // A row that sees no key has no weights: zero, not 0/0.
  const double weights = total.sum == 0 ? 1.0 : total.sum;
  for (int64_t d = 0; d < a.head_dim; ++d) total.values[d] /= weights;
  narrow(dtype, total.values, a.head_dim, out, at);
}

void store_lse(const Partial& total, DType dtype, void* lse, int64_t at) {
  const double value = total.max + std::log(total.sum);
  if (dtype == DType::f64) {
    static_cast<double*>(lse)[at] = value;
  } else {
    static_cast<float*>(lse)[at] = static_cast<float>(value);
  }
}

}  // namespace

void attention_fwd(Stream& stream, const AttentionShape& a, int64_t segments, const int32_t* cu,
                   DType dtype, const void* q, int64_t ldq, const void* k, int64_t ldk,
                   const void* v, int64_t ldv, void* out, int64_t ldo, void* lse) {
  check(a.head_dim <= kMaxHeadDim, "attention_fwd: head_dim is at most 1024");
  const int64_t first = segments > 0 ? cu[0] : 0, last = segments > 0 ? cu[segments] : 0;
  const int64_t dim = a.head_dim, group = a.heads / a.kv_heads;
  stream.pool().run((last - first) * a.heads, [&](int64_t part) {
    const int64_t row = first + part / a.heads, head = part % a.heads;
    const int64_t s = segment_of(segments, cu, row), start = cu[s];
    const int64_t column = head / group * dim;
    double x[kMaxHeadDim];
    widen(dtype, q, row * ldq + head * dim, dim, x);
    Partial total;
    attend(
        a, x, visible_keys(a, row - start, cu[s + 1] - start),
        [&](int64_t j, double* y) { widen(dtype, k, (start + j) * ldk + column, dim, y); },
        [&](int64_t j, double* y) { widen(dtype, v, (start + j) * ldv + column, dim, y); }, total);
    if (lse != nullptr) store_lse(total, dtype, lse, row * a.heads + head);
    store(a, total, dtype, out, row * ldo + head * dim);
  });
}

void attention_paged(Stream& stream, const AttentionShape& a, int64_t rows, DType dtype,
                     const void* q, int64_t ldq, const PagedKv& kv, const int32_t* sequences,
                     const int32_t* positions, void* out, int64_t ldo) {
  check(a.head_dim <= kMaxHeadDim, "attention_paged: head_dim is at most 1024");
  const int64_t dim = a.head_dim, group = a.heads / a.kv_heads, width = a.kv_heads * dim;
  stream.pool().run(rows * a.heads, [&](int64_t part) {
    const int64_t row = part / a.heads, head = part % a.heads;
    const int32_t* blocks = kv.block_table + sequences[row] * kv.max_blocks;
    const auto element = [&](int64_t j) {
      const int64_t slot = blocks[j / kv.block_tokens] * kv.block_tokens + j % kv.block_tokens;
      return slot * width + head / group * dim;
    };
    double x[kMaxHeadDim];
    widen(dtype, q, row * ldq + head * dim, dim, x);
    Partial total;
    // The cache holds no key behind the row's own, so causal or not it sees 0 … position.
    attend(
        a, x, visible_keys(a, positions[row], positions[row] + 1),
        [&](int64_t j, double* y) { widen(kv.dtype, kv.keys, element(j), dim, y); },
        [&](int64_t j, double* y) { widen(kv.dtype, kv.values, element(j), dim, y); }, total);
    store(a, total, dtype, out, row * ldo + head * dim);
  });
}

}  // namespace nibble::cpu::scalar
