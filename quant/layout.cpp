// Flat ↔ panel: the same codes and scales in the order a product reads them. A panel is 16 rows; a
// tile of it, 64 columns wide, is 512 bytes (kernels/table.h).
#include <algorithm>
#include <cstring>

#include "base/errors.h"
#include "quant/weight.h"

namespace nibble {
namespace {

constexpr int64_t kPanelRows = 16, kTileColumns = 64, kTileBytes = 512, kLineBytes = 64;

int64_t panels_of(const Weight& w) { return (w.out + kPanelRows - 1) / kPanelRows; }

// Byte 4c + t of a line is column 16t + c.
int64_t column_of(int64_t byte) { return (byte % 4) * 16 + byte / 4; }

// One tile from the flat matrix. Rows start on whole bytes: `in` is a multiple of 64. Rows beyond
// `out` hold the code of zero, so that they decode to 0 whatever their scale.
void gather_tile(const Weight& w, int64_t panel, int64_t tile, uint8_t zero, uint8_t* to) {
  const uint8_t* flat = w.codes.data<uint8_t>();
  for (int64_t line = 0; line < 8; ++line) {
    const int64_t low = panel * kPanelRows + 2 * line;
    uint8_t codes[2][kTileColumns];
    for (int64_t r = 0; r < 2; ++r) {
      if (low + r >= w.out) {
        std::memset(codes[r], zero, kTileColumns);
        continue;
      }
      const uint8_t* row = flat + ((low + r) * w.in + tile * kTileColumns) / 2;
      for (int64_t i = 0; i < kTileColumns / 2; ++i) {
        codes[r][2 * i] = row[i] >> 4;
        codes[r][2 * i + 1] = row[i] & 15;
      }
    }
    for (int64_t b = 0; b < kLineBytes; ++b) {
      const int64_t c = column_of(b);
      to[line * kLineBytes + b] = static_cast<uint8_t>(codes[0][c] | (codes[1][c] << 4));
    }
  }
}

void scatter_tile(const uint8_t* from, int64_t panel, int64_t tile, const Weight& w,
                  uint8_t* flat) {
  for (int64_t line = 0; line < 8; ++line) {
    const int64_t low = panel * kPanelRows + 2 * line;
    for (int64_t r = 0; r < 2 && low + r < w.out; ++r) {
      uint8_t codes[kTileColumns];
      for (int64_t b = 0; b < kLineBytes; ++b) {
        const uint8_t both = from[line * kLineBytes + b];
        codes[column_of(b)] = r == 0 ? both & 15 : both >> 4;
      }
      uint8_t* row = flat + ((low + r) * w.in + tile * kTileColumns) / 2;
      for (int64_t i = 0; i < kTileColumns / 2; ++i) {
        row[i] = static_cast<uint8_t>((codes[2 * i] << 4) | codes[2 * i + 1]);
      }
    }
  }
}

// Scales (or their codes) of one element a block: (out, in/block) ↔ (panels, in/block, 16).
template <class T>
void scales_to_panel(const Weight& w, const T* flat, T beyond, T* panel) {
  const int64_t per_row = w.in / w.block;
  for (int64_t p = 0; p < panels_of(w); ++p) {
    for (int64_t b = 0; b < per_row; ++b) {
      for (int64_t r = 0; r < kPanelRows; ++r) {
        const int64_t row = p * kPanelRows + r;
        *panel++ = row < w.out ? flat[row * per_row + b] : beyond;
      }
    }
  }
}

template <class T>
void scales_to_flat(const Weight& w, const T* panel, T* flat) {
  const int64_t per_row = w.in / w.block;
  for (int64_t row = 0; row < w.out; ++row) {
    const T* from = panel + (row / kPanelRows * per_row) * kPanelRows + row % kPanelRows;
    for (int64_t b = 0; b < per_row; ++b) flat[row * per_row + b] = from[b * kPanelRows];
  }
}

}  // namespace

bool panel_fits(const Weight& w) {
  return w.coded() && w.layout == Layout::flat && w.in > 0 && w.out > 0 &&
         w.block % kTileColumns == 0 && w.in % w.block == 0;
}

Weight to_panel(const Backend& on, const Weight& w, Purpose purpose) {
  check(panel_fits(w), cat("to_panel: (", w.out, ", ", w.in, ") in blocks of ", w.block));
  Weight p = w;
  p.layout = Layout::panel;
  const int64_t panels = panels_of(w), tiles = w.in / kTileColumns, per_row = w.in / w.block;
  p.codes = Tensor::empty(on.memory, {panels, tiles, kTileBytes}, DType::u8, purpose);
  uint8_t* codes = p.codes.data<uint8_t>();
  const uint8_t zero = rule_of(w.format).code_of_zero;
  on.stream.pool().parallel_for(panels, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * tiles; i < end * tiles; ++i) {
      gather_tile(w, i / tiles, i % tiles, zero, codes + i * kTileBytes);
    }
  });
  const Shape shape{panels, per_row, kPanelRows};
  if (w.nested) {
    p.nested->codes = Tensor::empty(on.memory, shape, DType::u8, purpose);
    scales_to_panel<uint8_t>(w, w.nested->codes.data<uint8_t>(), 0,
                             p.nested->codes.data<uint8_t>());
  } else {
    p.scales = Tensor::empty(on.memory, shape, DType::f32, purpose);
    scales_to_panel<float>(w, w.scales.data<float>(), 0.0f, p.scales.data<float>());
  }
  return p;
}

Weight to_flat(const Backend& on, const Weight& w, Purpose purpose) {
  if (w.layout == Layout::flat) return w;
  Weight f = w;
  f.layout = Layout::flat;
  const int64_t panels = panels_of(w), tiles = w.in / kTileColumns;
  f.codes = Tensor::empty(on.memory, {w.out * w.in / 2}, DType::u8, purpose);
  const uint8_t* codes = w.codes.data<uint8_t>();
  on.stream.pool().parallel_for(panels, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * tiles; i < end * tiles; ++i) {
      scatter_tile(codes + i * kTileBytes, i / tiles, i % tiles, w, f.codes.data<uint8_t>());
    }
  });
  if (w.nested) {
    f.nested->codes = Tensor::empty(on.memory, {w.blocks()}, DType::u8, purpose);
    scales_to_flat(w, w.nested->codes.data<uint8_t>(), f.nested->codes.data<uint8_t>());
  } else {
    f.scales = Tensor::empty(on.memory, {w.blocks()}, DType::f32, purpose);
    scales_to_flat(w, w.scales.data<float>(), f.scales.data<float>());
  }
  return f;
}

}  // namespace nibble
