// Rows of a table by token id. The backward adds tokens in order: threads share the columns, so two
// tokens of one id never meet.
#include <algorithm>

#include "kernels/cpu/decode.h"
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {

void embedding_fwd(Stream& stream, int64_t tokens, int64_t width, DType table_dtype,
                   const void* table, const int32_t* ids, DType dtype, void* out, int64_t ldo) {
  with_float("embedding_fwd", table_dtype, [&](auto table_tag) {
    with_compute("embedding_fwd", dtype, [&](auto out_tag) {
      using W = decltype(table_tag);
      using T = decltype(out_tag);
      for_spans(stream.pool(), tokens, width, 16384, [&](int64_t t, int64_t begin, int64_t end) {
        const W* row = static_cast<const W*>(table) + ids[t] * width;
        T* to = static_cast<T*>(out) + t * ldo;
        for (int64_t c = begin; c < end; ++c) to[c] = narrow<T>(widen(row[c]));
      });
    });
  });
}

void embedding_rows(Stream& stream, int64_t tokens, const WeightView& table, const int32_t* ids,
                    DType dtype, void* out, int64_t ldo) {
  with_compute("embedding_rows", dtype, [&](auto tag) {
    using T = decltype(tag);
    for_spans(stream.pool(), tokens, table.in, 16384, [&](int64_t t, int64_t begin, int64_t end) {
      T* to = static_cast<T*>(out) + t * ldo;
      double values[256];
      for (int64_t c = begin; c < end; c += 256) {
        const int64_t n = std::min<int64_t>(256, end - c);
        decode_row(table, ids[t], c, c + n, dtype, values);
        for (int64_t i = 0; i < n; ++i) to[c + i] = narrow<T>(values[i]);
      }
    });
  });
}

void embedding_bwd(Stream& stream, int64_t tokens, int64_t width, const int32_t* ids, DType dtype,
                   const void* dy, int64_t lddy, void* dtable) {
  with_compute("embedding_bwd", dtype, [&](auto tag) {
    using T = decltype(tag);
    const int64_t grain = std::max<int64_t>(16, 32768 / std::max<int64_t>(1, tokens));
    stream.pool().parallel_for(width, grain, [&](int64_t begin, int64_t end) {
      for (int64_t t = 0; t < tokens; ++t) {
        const T* in = static_cast<const T*>(dy) + t * lddy;
        auto* row = static_cast<Acc<T>*>(dtable) + ids[t] * width;
        for (int64_t c = begin; c < end; ++c) row[c] += widen(in[c]);
      }
    });
  });
}

}  // namespace nibble::cpu::scalar
