// One weight, one value: table[code] × absmax in fp32, rounded to the dtype it was quantized from,
// then to the compute type. Every tier and every product multiplies by exactly these numbers.
#include <algorithm>

#include "kernels/cpu/decode.h"
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"

namespace nibble::cpu::scalar {
namespace {

float absmax_of(const WeightView& w, int64_t n, int64_t k) {
  int64_t block, place;  // the block counted over the flat matrix, and where its scale lies
  if (w.layout == Layout::flat) {
    block = place = (n * w.in + k) / w.block;
  } else {
    const int64_t blocks = w.in / w.block;
    block = n * blocks + k / w.block;
    place = (n / 16 * blocks + k / w.block) * 16 + n % 16;
  }
  if (w.absmax != nullptr) return w.absmax[place];
  return w.map[w.absmax_codes[place]] * w.absmax2[block / w.block2] + w.offset;
}

int code_of(const WeightView& w, int64_t n, int64_t k) {
  const auto* codes = static_cast<const uint8_t*>(w.codes);
  if (w.layout == Layout::flat) {
    const int64_t i = n * w.in + k;
    return i % 2 == 0 ? codes[i / 2] >> 4 : codes[i / 2] & 15;
  }
  const uint8_t* tile = codes + (n / 16 * (w.in / 64) + k / 64) * 512;
  const int64_t column = k % 64;  // 16t + c is byte 4c + t
  const uint8_t byte = tile[n % 16 / 2 * 64 + 4 * (column % 16) + column / 16];
  return n % 2 == 0 ? byte & 15 : byte >> 4;
}

double rounded(DType to, double x) {
  double y = x;
  with_float("decode_tile", to, [&](auto type) { y = widen(narrow<decltype(type)>(x)); });
  return y;
}

void dense_row(const WeightView& w, int64_t n, int64_t k0, int64_t k1, double* out) {
  with_float("decode_tile", w.dtype, [&](auto type) {
    const auto* row = static_cast<const decltype(type)*>(w.codes) + n * w.pitch;
    for (int64_t k = k0; k < k1; ++k) out[k - k0] = widen(row[k]);
  });
}

void rows8_row(const WeightView& w, int64_t n, int64_t k0, int64_t k1, double* out) {
  const auto* codes = static_cast<const int8_t*>(w.codes) + n * w.pitch;
  const float step = w.absmax[n] / w.levels;
  for (int64_t k = k0; k < k1; ++k) {
    out[k - k0] = rounded(w.value_dtype, static_cast<float>(codes[k]) * step);
  }
}

// A block has sixteen values: they are rounded once, then looked up.
void table4_row(const WeightView& w, int64_t n, int64_t k0, int64_t k1, double* out) {
  for (int64_t k = k0; k < k1;) {
    const int64_t at = w.layout == Layout::flat ? n * w.in + k : k;
    const int64_t end = std::min(k1, k + w.block - at % w.block);
    const float absmax = absmax_of(w, n, k);
    double values[16];
    for (int i = 0; i < 16; ++i) values[i] = rounded(w.value_dtype, w.table[i] * absmax);
    for (; k < end; ++k) out[k - k0] = values[code_of(w, n, k)];
  }
}

}  // namespace

void decode_row(const WeightView& w, int64_t n, int64_t k0, int64_t k1, DType to, double* out) {
  if (w.kind == WeightKind::dense) {
    dense_row(w, n, k0, k1, out);
  } else if (w.kind == WeightKind::blocks) {
    blocks_row(w, n, k0, k1, out);
  } else if (w.kind == WeightKind::rows8) {
    rows8_row(w, n, k0, k1, out);
  } else {
    table4_row(w, n, k0, k1, out);
  }
  with_float("decode_tile", to, [&](auto type) {
    for (int64_t i = 0; i < k1 - k0; ++i) out[i] = widen(narrow<decltype(type)>(out[i]));
  });
}

void decode_tile(const WeightView& w, int64_t n0, int64_t n1, int64_t k0, int64_t k1, DType to,
                 void* out, int64_t ldo) {
  with_float("decode_tile", to, [&](auto type) {
    using T = decltype(type);
    for (int64_t n = n0; n < n1; ++n) {
      T* row = static_cast<T*>(out) + (n - n0) * ldo;
      for (int64_t k = k0; k < k1; k += 256) {
        double values[256];
        const int64_t count = std::min<int64_t>(256, k1 - k);
        decode_row(w, n, k, k + count, to, values);
        for (int64_t i = 0; i < count; ++i) row[k - k0 + i] = narrow<T>(values[i]);
      }
    }
  });
}

}  // namespace nibble::cpu::scalar
