// The products of linear layers as formulas: tiles of outputs, each summed in fp64 over the
// reduction index, ascending. Speed lives in the overlays of the same names.
#include <algorithm>

#include "kernels/cpu/decode.h"
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

constexpr int64_t kRows = 16;   // of an output tile
constexpr int64_t kCols = 16;   // of an output tile
constexpr int64_t kSteps = 64;  // of the reduction, decoded at a time

struct Tile {
  int64_t row0, row1, col0, col1;
};

// Calls body(tile) for tiles that cover a (rows, cols) output.
template <class Body>
void for_tiles(Stream& stream, int64_t rows, int64_t cols, const Body& body) {
  const int64_t across = (cols + kCols - 1) / kCols;
  const int64_t tiles = (rows + kRows - 1) / kRows * across;
  stream.pool().parallel_for(tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t row = t / across * kRows, col = t % across * kCols;
      body(Tile{row, std::min(row + kRows, rows), col, std::min(col + kCols, cols)});
    }
  });
}

// y = alpha × sums, or y + alpha × sums, rounded once.
void store(const Tile& tile, const double (*sums)[kCols], double alpha, bool accumulate, DType t,
           void* y, int64_t ldy) {
  with_float("linear", t, [&](auto type) {
    using T = decltype(type);
    for (int64_t i = tile.row0; i < tile.row1; ++i) {
      T* row = static_cast<T*>(y) + i * ldy;
      for (int64_t j = tile.col0; j < tile.col1; ++j) {
        const double product = alpha * sums[i - tile.row0][j - tile.col0];
        row[j] = narrow<T>(accumulate ? widen(row[j]) + product : product);
      }
    }
  });
}

}  // namespace

void linear_fwd(Stream& stream, int64_t m, const WeightView& w, DType t, const void* x, int64_t ldx,
                DType y_dtype, void* y, int64_t ldy, double alpha, bool accumulate, void*) {
  with_float("linear_fwd", t, [&](auto type) {
    const auto* rows = static_cast<const decltype(type)*>(x);
    for_tiles(stream, m, w.out, [&](const Tile& tile) {
      double sums[kRows][kCols] = {}, values[kCols][kSteps];
      for (int64_t k0 = 0; k0 < w.in; k0 += kSteps) {
        const int64_t k1 = std::min(k0 + kSteps, w.in);
        for (int64_t n = tile.col0; n < tile.col1; ++n) {
          decode_row(w, n, k0, k1, t, values[n - tile.col0]);
        }
        for (int64_t i = tile.row0; i < tile.row1; ++i) {
          for (int64_t n = 0; n < tile.col1 - tile.col0; ++n) {
            double& sum = sums[i - tile.row0][n];
            for (int64_t k = k0; k < k1; ++k) sum += widen(rows[i * ldx + k]) * values[n][k - k0];
          }
        }
      }
      store(tile, sums, alpha, accumulate, y_dtype, y, ldy);
    });
  });
}

void linear_dx(Stream& stream, int64_t m, const WeightView& w, DType t, const void* dy,
               int64_t lddy, DType dx_dtype, void* dx, int64_t lddx, double alpha, bool accumulate,
               void*) {
  with_float("linear_dx", t, [&](auto type) {
    const auto* rows = static_cast<const decltype(type)*>(dy);
    for_tiles(stream, m, w.in, [&](const Tile& tile) {
      double sums[kRows][kCols] = {}, values[kCols];
      for (int64_t n = 0; n < w.out; ++n) {
        decode_row(w, n, tile.col0, tile.col1, t, values);
        for (int64_t i = tile.row0; i < tile.row1; ++i) {
          const double d = widen(rows[i * lddy + n]);
          double* sum = sums[i - tile.row0];
          for (int64_t k = 0; k < tile.col1 - tile.col0; ++k) sum[k] += d * values[k];
        }
      }
      store(tile, sums, alpha, accumulate, dx_dtype, dx, lddx);
    });
  });
}

void linear_dw(Stream& stream, int64_t m, int64_t out, int64_t in, DType t, const void* dy,
               int64_t lddy, const void* x, int64_t ldx, double alpha, void* dw, int64_t lddw,
               void*) {
  with_float("linear_dw", t, [&](auto type) {
    const auto* a = static_cast<const decltype(type)*>(dy);
    const auto* b = static_cast<const decltype(type)*>(x);
    for_tiles(stream, out, in, [&](const Tile& tile) {
      double sums[kRows][kCols] = {};
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t n = tile.row0; n < tile.row1; ++n) {
          const double d = widen(a[i * lddy + n]);
          double* sum = sums[n - tile.row0];
          for (int64_t k = tile.col0; k < tile.col1; ++k) {
            sum[k - tile.col0] += d * widen(b[i * ldx + k]);
          }
        }
      }
      store(tile, sums, alpha, true, accumulator_of(t), dw, lddw);
    });
  });
}

int64_t linear_scratch(Stream&, int64_t, const WeightView&, DType) { return 0; }
int64_t linear_dw_scratch(Stream&, int64_t, int64_t, int64_t, DType) { return 0; }

}  // namespace nibble::cpu::scalar
