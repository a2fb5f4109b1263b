// Attention backward (Dao 2023, FlashAttention-2): the weights are recomputed from lse, never kept.
//   p = exp(s - lse)   delta = sum_d dout·out   ds = p (dout·v - delta) scale [(1 - (s/cap)²)]
//   dq = Σ_j ds k_j    dk_j = Σ_i ds q_i        dv_j = Σ_i p dout_i
// dq is walked by rows and dk, dv by keys, so no sum ever crosses a thread.
#include "base/errors.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

// The tensors of one backward, as the row receives them.
struct Backward {
  const AttentionShape& a;
  DType dtype;
  const void *q, *k, *v, *dout;
  int64_t ldq, ldk, ldv, lddo;
  const void* lse;
  const double* delta;  // (tokens, heads)

  double lse_of(int64_t row, int64_t head) const {
    const int64_t at = row * a.heads + head;
    return dtype == DType::f64 ? static_cast<const double*>(lse)[at]
                               : static_cast<const float*>(lse)[at];
  }
};

// The weight of one (row, key) and the gradient of its dot product.
struct Pair {
  double p, ds;
};

Pair pair_of(const Backward& b, const double* q, const double* k, const double* v,
             const double* dout, double lse, double delta) {
  const AttentionShape& a = b.a;
  const double s = score(a, q, k);
  double dp = 0;
  for (int64_t d = 0; d < a.head_dim; ++d) dp += dout[d] * v[d];
  const double p = std::exp(s - lse);
  const double bend = a.softcap > 0 ? 1 - (s / a.softcap) * (s / a.softcap) : 1;
  return {p, p * (dp - delta) * bend * a.scale};
}

void dq_of_row(const Backward& b, int64_t start, int64_t keys, int64_t row, int64_t head, void* dq,
               int64_t lddq) {
  const int64_t dim = b.a.head_dim, column = head / (b.a.heads / b.a.kv_heads) * dim;
  double q[kMaxHeadDim], k[kMaxHeadDim], v[kMaxHeadDim], dout[kMaxHeadDim], sum[kMaxHeadDim];
  widen(b.dtype, b.q, row * b.ldq + head * dim, dim, q);
  widen(b.dtype, b.dout, row * b.lddo + head * dim, dim, dout);
  std::fill_n(sum, dim, 0.0);
  const KeyRange seen = visible_keys(b.a, row - start, keys);
  for (int64_t j = seen.begin; j < seen.end; ++j) {
    widen(b.dtype, b.k, (start + j) * b.ldk + column, dim, k);
    widen(b.dtype, b.v, (start + j) * b.ldv + column, dim, v);
    const double ds =
        pair_of(b, q, k, v, dout, b.lse_of(row, head), b.delta[row * b.a.heads + head]).ds;
    for (int64_t d = 0; d < dim; ++d) sum[d] += ds * k[d];
  }
  narrow(b.dtype, sum, dim, dq, row * lddq + head * dim);
}

// Rows of a document that see its key `key`: what visible_keys says, read the other way.
KeyRange seeing_rows(const AttentionShape& a, int64_t key, int64_t rows) {
  return {a.causal ? key : 0, a.window > 0 ? std::min(rows, key + a.window) : rows};
}

void dk_dv_of_key(const Backward& b, int64_t start, int64_t rows, int64_t key, int64_t kv_head,
                  void* dk, int64_t lddk, void* dv, int64_t lddv) {
  const int64_t dim = b.a.head_dim, group = b.a.heads / b.a.kv_heads, column = kv_head * dim;
  double k[kMaxHeadDim], v[kMaxHeadDim], q[kMaxHeadDim], dout[kMaxHeadDim];
  double sum_k[kMaxHeadDim], sum_v[kMaxHeadDim];
  widen(b.dtype, b.k, (start + key) * b.ldk + column, dim, k);
  widen(b.dtype, b.v, (start + key) * b.ldv + column, dim, v);
  std::fill_n(sum_k, dim, 0.0);
  std::fill_n(sum_v, dim, 0.0);
  const KeyRange seeing = seeing_rows(b.a, key, rows);
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t i = seeing.begin; i < seeing.end; ++i) {
      const int64_t row = start + i;
      widen(b.dtype, b.q, row * b.ldq + head * dim, dim, q);
      widen(b.dtype, b.dout, row * b.lddo + head * dim, dim, dout);
      const Pair x =
          pair_of(b, q, k, v, dout, b.lse_of(row, head), b.delta[row * b.a.heads + head]);
      for (int64_t d = 0; d < dim; ++d) sum_k[d] += x.ds * q[d];
      for (int64_t d = 0; d < dim; ++d) sum_v[d] += x.p * dout[d];
    }
  }
  narrow(b.dtype, sum_k, dim, dk, (start + key) * lddk + column);
  narrow(b.dtype, sum_v, dim, dv, (start + key) * lddv + column);
}

}  // namespace

int64_t attention_bwd_scratch(Stream&, const AttentionShape& a, int64_t tokens, DType) {
  return tokens * a.heads * static_cast<int64_t>(sizeof(double));
}

void attention_bwd(Stream& stream, const AttentionShape& a, int64_t segments, const int32_t* cu,
                   DType dtype, const void* q, int64_t ldq, const void* k, int64_t ldk,
                   const void* v, int64_t ldv, const void* out, int64_t ldo, const void* lse,
                   const void* dout, int64_t lddo, void* dq, int64_t lddq, void* dk, int64_t lddk,
                   void* dv, int64_t lddv, void* scratch) {
  check(a.head_dim <= kMaxHeadDim, "attention_bwd: head_dim is at most 1024");
  const int64_t first = segments > 0 ? cu[0] : 0, last = segments > 0 ? cu[segments] : 0;
  const int64_t dim = a.head_dim;
  auto* delta = static_cast<double*>(scratch) - first * a.heads;
  const Backward b{a, dtype, q, k, v, dout, ldq, ldk, ldv, lddo, lse, delta};
  stream.pool().run((last - first) * a.heads, [&](int64_t part) {
    const int64_t row = first + part / a.heads, head = part % a.heads;
    double x[kMaxHeadDim], y[kMaxHeadDim], sum = 0;
    widen(dtype, dout, row * lddo + head * dim, dim, x);
    widen(dtype, out, row * ldo + head * dim, dim, y);
    for (int64_t d = 0; d < dim; ++d) sum += x[d] * y[d];
    delta[row * a.heads + head] = sum;
    const int64_t s = segment_of(segments, cu, row);
    dq_of_row(b, cu[s], cu[s + 1] - cu[s], row, head, dq, lddq);
  });
  stream.pool().run((last - first) * a.kv_heads, [&](int64_t part) {
    const int64_t row = first + part / a.kv_heads, s = segment_of(segments, cu, row);
    dk_dv_of_key(b, cu[s], cu[s + 1] - cu[s], row - cu[s], part % a.kv_heads, dk, lddk, dv, lddv);
  });
}

}  // namespace nibble::cpu::scalar
