// Rows without any sum: every output element is one or two inputs, rounded once.
#include <cmath>
#include <cstring>

#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

constexpr int64_t kGrain = 32768;  // elements one thread takes at least

template <class To, class From>
void cast_span(const From* x, To* y, int64_t n) {
  if constexpr (std::is_same_v<To, From>) {
    std::memmove(y, x, static_cast<size_t>(n) * sizeof(To));
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = narrow<To>(widen(x[i]));
  }
}

}  // namespace

void cast(Stream& stream, int64_t rows, int64_t cols, DType from, const void* x, int64_t ldx,
          DType to, void* y, int64_t ldy) {
  with_float("cast", from, [&](auto f) {
    with_float("cast", to, [&](auto t) {
      const auto* in = static_cast<const decltype(f)*>(x);
      auto* out = static_cast<decltype(t)*>(y);
      for_spans(stream.pool(), rows, cols, kGrain, [&](int64_t r, int64_t begin, int64_t end) {
        cast_span(in + r * ldx + begin, out + r * ldy + begin, end - begin);
      });
    });
  });
}

void zero(Stream& stream, int64_t bytes, void* x) {
  stream.pool().parallel_for(bytes, 1 << 20, [&](int64_t begin, int64_t end) {
    std::memset(static_cast<char*>(x) + begin, 0, static_cast<size_t>(end - begin));
  });
}

void add(Stream& stream, int64_t rows, int64_t cols, DType dtype, const void* a, int64_t lda,
         const void* b, int64_t ldb, void* out, int64_t ldo) {
  with_compute("add", dtype, [&](auto tag) {
    using T = decltype(tag);
    for_spans(stream.pool(), rows, cols, kGrain, [&](int64_t r, int64_t begin, int64_t end) {
      const T* left = static_cast<const T*>(a) + r * lda;
      const T* right = static_cast<const T*>(b) + r * ldb;
      T* sum = static_cast<T*>(out) + r * ldo;
      for (int64_t c = begin; c < end; ++c) sum[c] = narrow<T>(widen(left[c]) + widen(right[c]));
    });
  });
}

void accumulate(Stream& stream, int64_t n, DType from, const void* x, DType to, void* y) {
  with_compute("accumulate", from, [&](auto f) {
    with_compute("accumulate", to, [&](auto t) {
      using From = decltype(f);
      using To = decltype(t);
      using Wide = decltype(widen(From{}) + widen(To{}));
      const From* in = static_cast<const From*>(x);
      To* out = static_cast<To*>(y);
      stream.pool().parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          out[i] = narrow<To>(static_cast<Wide>(widen(out[i])) + static_cast<Wide>(widen(in[i])));
        }
      });
    });
  });
}

void scale(Stream& stream, int64_t n, DType dtype, double factor, void* x) {
  with_compute("scale", dtype, [&](auto tag) {
    using T = decltype(tag);
    T* values = static_cast<T*>(x);
    stream.pool().parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        values[i] = narrow<T>(static_cast<double>(widen(values[i])) * factor);
      }
    });
  });
}

void clamp(Stream& stream, int64_t n, DType dtype, double limit, void* x) {
  with_compute("clamp", dtype, [&](auto tag) {
    using T = decltype(tag);
    T* values = static_cast<T*>(x);
    stream.pool().parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto value = static_cast<double>(widen(values[i]));
        if (std::abs(value) > limit) values[i] = narrow<T>(std::copysign(limit, value));
      }
    });
  });
}

void gather_rows(Stream& stream, int64_t rows, int64_t cols, DType dtype, const void* x,
                 int64_t ldx, const int32_t* index, void* out, int64_t ldo) {
  const int64_t size = size_of(dtype);
  for_spans(stream.pool(), rows, cols, kGrain, [&](int64_t r, int64_t begin, int64_t end) {
    std::memcpy(static_cast<char*>(out) + (r * ldo + begin) * size,
                static_cast<const char*>(x) + (index[r] * ldx + begin) * size,
                static_cast<size_t>((end - begin) * size));
  });
}

void scatter_rows(Stream& stream, int64_t rows, int64_t cols, DType dtype, const void* x,
                  int64_t ldx, const int32_t* index, void* out, int64_t ldo) {
  with_compute("scatter_rows", dtype, [&](auto tag) {
    using T = decltype(tag);
    for_spans(stream.pool(), rows, cols, kGrain, [&](int64_t r, int64_t begin, int64_t end) {
      const T* in = static_cast<const T*>(x) + r * ldx;
      T* sum = static_cast<T*>(out) + index[r] * ldo;
      for (int64_t c = begin; c < end; ++c) sum[c] = narrow<T>(widen(sum[c]) + widen(in[c]));
    });
  });
}

}  // namespace nibble::cpu::scalar
