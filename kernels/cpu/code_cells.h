// The code of a value from one table entry: floats that share their sign and upper 15 bits of
// magnitude are a cell, a cell holds at most one border between codes, and the entry tells the code
// before the border and how far into the cell it lies. For overlay files: no inline code.
#pragma once

#include <cstdint>

namespace nibble::cpu {

// For x of magnitude at most 1 (and the cell that 1 lies in). Let cell = upper 15 bits of |x| but
// at least `lowest` and at most kHighest, e = entry[cell - lowest + (x < 0 ? kSide : 0)] and up =
// the lower 16 bits of |x| > e >> 16. The code is (e & 255) + up, for negative x (e & 255) - up.
struct CodeCells {
  static constexpr int32_t kSide = 4096;       // entries of one sign: 32 binades
  static constexpr int32_t kHighest = 0x3f80;  // of 1.0
  uint32_t entry[2 * kSide];
  int32_t lowest;  // of smaller magnitudes all have one code a sign
  uint8_t zero;    // the code of 0
};

// Codes c of x > borders[c - 1], borders (255) ascending. False when cells cannot tell them: a
// border at 0, two in one cell, one below 2^-31.
bool code_cells_of_borders(const float* borders, CodeCells& cells);
// Of the nearest entries of an ascending map of 256, with a tie the lower one.
bool code_cells_of_map(const float* map, CodeCells& cells);

}  // namespace nibble::cpu
