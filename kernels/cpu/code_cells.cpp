#include "kernels/cpu/code_cells.h"

#include <algorithm>

#include "kernels/cpu/nearest_code.h"
#include "kernels/float_types.h"

namespace nibble::cpu {
namespace {

struct Border {
  int32_t cell;   // upper 15 bits of its magnitude
  uint32_t rest;  // the others
};
Border border_of(float x) {
  const uint32_t size = bits_of(x) & 0x7fffffffu;
  return {static_cast<int32_t>(size >> 16), size & 0xffffu};
}

constexpr uint32_t kNever = 0xffff;  // nothing of a cell lies beyond

uint32_t entry_of(uint32_t beyond, int code) { return beyond << 16 | static_cast<uint32_t>(code); }

// One sign, by rising magnitude: borders[at], borders[at + step], … until `end`; beyond each the
// code moves by `step`.
bool fill_side(const float* borders, int at, int end, int step, int code, int32_t lowest,
               uint32_t* entry) {
  int32_t next = lowest;  // the first cell not filled yet
  for (; at != end; at += step, code += step) {
    const Border b = border_of(borders[at]);
    if (b.cell > CodeCells::kHighest) break;
    if (b.cell < next) return false;
    std::fill(entry + (next - lowest), entry + (b.cell - lowest), entry_of(kNever, code));
    next = b.cell + 1;
    // x > b moves up. Of negative x those do not that have at least b's magnitude.
    if (step > 0) {
      entry[b.cell - lowest] = entry_of(b.rest, code);
    } else {
      entry[b.cell - lowest] = b.rest > 0 ? entry_of(b.rest - 1, code) : entry_of(kNever, code - 1);
    }
  }
  if (next <= CodeCells::kHighest) {
    std::fill(entry + (next - lowest), entry + (CodeCells::kHighest + 1 - lowest),
              entry_of(kNever, code));
  }
  return true;
}

}  // namespace

bool code_cells_of_borders(const float* borders, CodeCells& cells) {
  const auto up = static_cast<int>(std::lower_bound(borders, borders + 255, 0.0f) - borders);
  if (up < 255 && borders[up] == 0) return false;  // zero and what follows it share a cell
  int32_t nearest = CodeCells::kHighest;           // of the borders of both signs
  if (up < 255) nearest = std::min(nearest, border_of(borders[up]).cell);
  if (up > 0) nearest = std::min(nearest, border_of(borders[up - 1]).cell);
  cells.lowest = nearest - 1;
  cells.zero = static_cast<uint8_t>(up);
  if (CodeCells::kHighest - cells.lowest >= CodeCells::kSide) return false;
  return fill_side(borders, up, 255, 1, up, cells.lowest, cells.entry) &&
         fill_side(borders, up - 1, -1, -1, up, cells.lowest, cells.entry + CodeCells::kSide);
}

bool code_cells_of_map(const float* map, CodeCells& cells) {
  float borders[255];
  for (int c = 0; c < 255; ++c) borders[c] = midpoint_rounded_down(map[c], map[c + 1]);
  return code_cells_of_borders(borders, cells);
}

}  // namespace nibble::cpu
