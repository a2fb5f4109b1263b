// Random packed batches for the attention tests, and what attention means, in fp64 and without any
// tile: softmax over the keys a row sees, and the derivatives of that formula written out in full.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/device.h"
#include "kernels/float_types.h"

namespace nibble::testing {

struct AttentionCase {
  std::string name;
  std::vector<int32_t> lengths;
  AttentionShape shape;
};

// A (rows, cols) matrix with a pitch, held both as the bytes a kernel sees and as exact doubles.
struct HeadMatrix {
  int64_t rows = 0, cols = 0, pitch = 0;
  DType dtype = DType::f32;
  std::vector<uint8_t> bytes;

  HeadMatrix(int64_t r, int64_t c, DType t, int64_t extra = 0)
      : rows(r), cols(c), pitch(c + extra), dtype(t), bytes(r * (c + extra) * size_of(t), 0xff) {}

  double at(int64_t r, int64_t c) const {
    const int64_t i = r * pitch + c;
    if (dtype == DType::f64) return reinterpret_cast<const double*>(bytes.data())[i];
    if (dtype == DType::f32) return reinterpret_cast<const float*>(bytes.data())[i];
    if (dtype == DType::f16) return widen(reinterpret_cast<const f16*>(bytes.data())[i]);
    const uint32_t wide = uint32_t{reinterpret_cast<const uint16_t*>(bytes.data())[i]} << 16;
    float x;
    std::memcpy(&x, &wide, 4);
    return x;
  }
  // bf16 by dropping the low bits: inputs need no rounding rule, only an exact value.
  void set(int64_t r, int64_t c, double x) {
    const int64_t i = r * pitch + c;
    const float f = static_cast<float>(x);
    uint32_t bits;
    std::memcpy(&bits, &f, 4);
    if (dtype == DType::f64) reinterpret_cast<double*>(bytes.data())[i] = x;
    if (dtype == DType::f32) reinterpret_cast<float*>(bytes.data())[i] = f;
    if (dtype == DType::f16) reinterpret_cast<f16*>(bytes.data())[i] = to_f16(f);
    if (dtype == DType::bf16) {
      reinterpret_cast<uint16_t*>(bytes.data())[i] = static_cast<uint16_t>(bits >> 16);
    }
  }
  void fill(uint64_t seed, double scale = 1) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) set(r, c, scale * random_normal(RngKey{seed}, r, c));
    }
  }
  std::vector<double> dense() const {
    std::vector<double> all;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) all.push_back(at(r, c));
    }
    return all;
  }
  void* data() { return bytes.data(); }
  const void* data() const { return bytes.data(); }
};

// How far `got` is from `want` (rows × cols, dense), relative to the largest value wanted (1
// where all are small or zero); a NaN counts as infinitely far.
inline double distance(const HeadMatrix& got, const std::vector<double>& want) {
  double top = 1, worst = 0;
  for (double w : want) top = std::max(top, std::abs(w));
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.cols; ++c) {
      const double d = std::abs(got.at(r, c) - want[r * got.cols + c]);
      if (!(d <= worst)) worst = std::isnan(d) ? INFINITY : d;
    }
  }
  return worst / top;
}

inline bool sees(const AttentionShape& a, int64_t row, int64_t key) {
  return !(a.causal && key > row) && !(a.window > 0 && key <= row - a.window);
}

struct Reference {
  std::vector<double> q, k, v, dout, out, lse, dq, dk, dv;
};

// One batch: inputs, and the outputs of whatever ran on it last.
struct Batch {
  AttentionShape shape;
  std::vector<int32_t> cu{0};
  int64_t tokens = 0;
  DType dtype;
  HeadMatrix q, k, v, dout, out, dq, dk, dv, lse;

  Batch(const AttentionCase& c, DType t, uint64_t seed, double size = 1)
      : shape(c.shape),
        tokens(total(c.lengths)),
        dtype(t),
        q(tokens, shape.heads * shape.head_dim, t, 3),
        k(tokens, shape.kv_heads * shape.head_dim, t, 5),
        v(tokens, shape.kv_heads * shape.head_dim, t, 1),
        dout(tokens, shape.heads * shape.head_dim, t),
        out(dout),
        dq(q),
        dk(k),
        dv(v),
        lse(tokens, shape.heads, accumulator_of(t)) {
    for (int32_t n : c.lengths) cu.push_back(cu.back() + n);
    q.fill(seed, size);
    k.fill(seed + 1, size);
    v.fill(seed + 2);
    dout.fill(seed + 3);
  }
  static int64_t total(const std::vector<int32_t>& lengths) {
    int64_t n = 0;
    for (int32_t x : lengths) n += x;
    return n;
  }
  int64_t segments() const { return static_cast<int64_t>(cu.size()) - 1; }

  void forward(Device& d) {
    d.kernels().attention_fwd(d.stream(), shape, segments(), cu.data(), dtype, q.data(), q.pitch,
                              k.data(), k.pitch, v.data(), v.pitch, out.data(), out.pitch,
                              lse.data());
  }
  void backward(Device& d) {
    std::vector<uint8_t> scratch(
        d.kernels().attention_bwd_scratch(d.stream(), shape, tokens, dtype) + 64);
    void* aligned = scratch.data();
    size_t space = scratch.size();
    std::align(64, space - 64, aligned, space);
    d.kernels().attention_bwd(d.stream(), shape, segments(), cu.data(), dtype, q.data(), q.pitch,
                              k.data(), k.pitch, v.data(), v.pitch, out.data(), out.pitch,
                              lse.data(), dout.data(), dout.pitch, dq.data(), dq.pitch, dk.data(),
                              dk.pitch, dv.data(), dv.pitch, aligned);
  }

  Reference reference() const {
    Reference r;
    r.q = q.dense(), r.k = k.dense(), r.v = v.dense(), r.dout = dout.dense();
    r.out.assign(r.q.size(), 0), r.dq = r.out, r.lse.assign(tokens * shape.heads, 0);
    r.dk.assign(r.k.size(), 0), r.dv = r.dk;
    for (int64_t s = 0; s < segments(); ++s) {
      for (int64_t i = cu[s]; i < cu[s + 1]; ++i) {
        for (int64_t head = 0; head < shape.heads; ++head) row_of(r, cu[s], cu[s + 1], i, head);
      }
    }
    return r;
  }

 private:
  void row_of(Reference& r, int64_t begin, int64_t end, int64_t i, int64_t head) const {
    const int64_t dim = shape.head_dim, kv = head / (shape.heads / shape.kv_heads);
    const int64_t row = (i * shape.heads + head) * dim;
    const auto key = [&](int64_t j) { return (j * shape.kv_heads + kv) * dim; };
    std::vector<int64_t> keys;
    std::vector<double> s, p;
    double top = -INFINITY, sum = 0, delta = 0;
    for (int64_t j = begin; j < end; ++j) {
      if (!sees(shape, i - begin, j - begin)) continue;
      double x = 0;
      for (int64_t d = 0; d < dim; ++d) x += r.q[row + d] * r.k[key(j) + d];
      x *= shape.scale;
      if (shape.softcap > 0) x = shape.softcap * std::tanh(x / shape.softcap);
      keys.push_back(key(j)), s.push_back(x);
      top = std::max(top, x);
    }
    for (double x : s) p.push_back(std::exp(x - top)), sum += p.back();
    r.lse[i * shape.heads + head] = top + std::log(sum);
    for (size_t n = 0; n < keys.size(); ++n) {
      p[n] /= sum;
      for (int64_t d = 0; d < dim; ++d) r.out[row + d] += p[n] * r.v[keys[n] + d];
    }
    for (int64_t d = 0; d < dim; ++d) delta += r.out[row + d] * r.dout[row + d];
    for (size_t n = 0; n < keys.size(); ++n) {
      double dp = 0;
      for (int64_t d = 0; d < dim; ++d) dp += r.dout[row + d] * r.v[keys[n] + d];
      double ds = p[n] * (dp - delta) * shape.scale;
      if (shape.softcap > 0) ds *= 1 - (s[n] / shape.softcap) * (s[n] / shape.softcap);
      for (int64_t d = 0; d < dim; ++d) {
        r.dq[row + d] += ds * r.k[keys[n] + d];
        r.dk[keys[n] + d] += ds * r.q[row + d];
        r.dv[keys[n] + d] += p[n] * r.dout[row + d];
      }
    }
  }
};

inline AttentionShape shape_of(int64_t heads, int64_t kv_heads, int64_t dim) {
  AttentionShape a;
  a.heads = heads, a.kv_heads = kv_heads, a.head_dim = dim;
  a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dim)));
  return a;
}

inline std::vector<AttentionCase> attention_cases() {
  std::vector<AttentionCase> all;
  const auto add = [&](std::string name, std::vector<int32_t> lengths, AttentionShape a,
                       int64_t window = 0, float cap = 0, bool causal = true) {
    a.window = window, a.softcap = cap, a.causal = causal;
    all.push_back({std::move(name), std::move(lengths), a});
  };
  add("short documents, four query heads a key head", {1, 63, 64, 65, 2}, shape_of(4, 1, 16));
  add("documents around a span", {511, 512, 513}, shape_of(2, 1, 8));
  add("three spans", {1100}, shape_of(1, 1, 24));
  add("width 64 in groups of three", {70, 130}, shape_of(6, 2, 64));
  add("odd width", {33, 5, 100}, shape_of(2, 2, 13));
  add("width 128", {67}, shape_of(2, 1, 128));
  add("window inside a tile", {1, 65, 200}, shape_of(2, 1, 16), 10);
  add("window over a span", {700}, shape_of(1, 1, 16), 530);
  add("window of one", {66}, shape_of(2, 2, 16), 1);
  add("softcap", {65, 130}, shape_of(2, 1, 32), 0, 5.0f);
  add("both directions", {1, 64, 150}, shape_of(2, 1, 16), 0, 0, false);
  add("both directions, window and softcap", {90, 520}, shape_of(2, 1, 16), 40, 3.0f, false);
  add("an empty document between", {5, 0, 66}, shape_of(1, 1, 16));
  for (const int64_t dim : {12, 20, 24, 80, 96, 256}) {
    const std::string width = "width " + std::to_string(dim);
    add(width, {66, 9}, shape_of(4, 2, dim));
    add(width + ", window", {70, 3}, shape_of(3, 1, dim), 33);
    add(width + ", window and softcap", {67}, shape_of(2, 1, dim), 20, 2.5f);
    add(width + ", both directions", {65, 2}, shape_of(2, 2, dim), 0, 4.0f, false);
  }
  return all;
}

}  // namespace nibble::testing
