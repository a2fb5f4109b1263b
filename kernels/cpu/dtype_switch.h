// From a DType at run time to a type at compile time, and the two ways the scalar rows share work.
#pragma once

#include <algorithm>
#include <string>

#include "base/thread_pool.h"
#include "kernels/float_types.h"
#include "kernels/tensor.h"

namespace nibble::cpu {

[[noreturn]] inline void refuse_dtype(const char* row, DType t) {
  fail_check(std::string(row) + ": dtype " + name_of(t) + " is not taken here", __FILE__, __LINE__);
}

// Calls body with a value of the type: of what is stored (weights, tables, caches), any float type.
template <class Body>
void with_float(const char* row, DType t, const Body& body) {
  switch (t) {
    case DType::f32:
      return body(float{});
    case DType::bf16:
      return body(bf16{});
    case DType::f16:
      return body(f16{});
    case DType::f64:
      return body(double{});
    default:
      refuse_dtype(row, t);
  }
}

// The same of a compute type: what activations are in.
template <class Body>
void with_compute(const char* row, DType t, const Body& body) {
  with_float(row, t, body);
}

// The elements of a (rows, cols) matrix split over the threads: span(row, begin, end) for pieces of
// rows, whether the rows are many or long.
template <class Span>
void for_spans(ThreadPool& pool, int64_t rows, int64_t cols, int64_t grain, const Span& span) {
  if (rows <= 0 || cols <= 0) return;
  pool.parallel_for(rows * cols, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin / cols; row * cols < end; ++row) {
      const int64_t first = row * cols;
      span(row, std::max(begin, first) - first, std::min(end, first + cols) - first);
    }
  });
}

// Rows split over the threads so that one part holds at least `elements` of them.
template <class Body>
void for_rows(ThreadPool& pool, int64_t rows, int64_t cols, int64_t elements, const Body& body) {
  const int64_t grain = std::max<int64_t>(1, elements / std::max<int64_t>(1, cols));
  pool.parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row);
  });
}

}  // namespace nibble::cpu
