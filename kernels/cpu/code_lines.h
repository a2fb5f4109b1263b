// How vectors find the code of a value in a dynamic map: its entries lie equally spaced within each
// of seven decades, ever denser towards 1, so that the index of a magnitude, as a real number, is
// the least of seven lines. It tells the code or the one below; a comparison with the border
// between the two decides exactly. Overlay files include this: plain data and one function.
#pragma once

#include "kernels/table.h"

namespace nibble::cpu {

struct CodeLines {
  static constexpr int kLines = 7;
  float slope[kLines], offset[kLines];  // of the index above `zero`, less 0.2
  float borders[256];                   // x > borders[c]: above code c
  int zero;                             // the code of 0
  int zero_block;                       // of all in a block of zeros
  bool keeps_sign;
};

// The same codes as StateCodec's. False where the lines would not find them all: the map is not a
// dynamic one.
bool code_lines(const StateView& view, bool bnb_codec, CodeLines& out);

}  // namespace nibble::cpu
