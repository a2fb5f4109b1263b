// One optimizer state between memory and fp32, block by block. Two rules keep small states honest.
// A mean never changes its sign by rounding: a code of the other sign moves one step. A root of a
// positive value never becomes 0, or mean / root would leap: it gets at least the smallest code
// above 0.
#pragma once

#include "kernels/cpu/nearest_code.h"
#include "kernels/table.h"

namespace nibble::cpu {

class StateCodec {
 public:
  // n: how many values will be coded, which decides what is worth preparing.
  StateCodec(const StateView& view, int64_t n, bool bnb_codec);

  bool coded() const { return view_.absmax != nullptr; }
  // Elements [begin, begin + n), at most one block and from its start when coded.
  void decode(int64_t begin, int64_t n, float* out) const;
  void encode(int64_t begin, int64_t n, float* x) const;  // x becomes x over its scale

  const StateView& view() const { return view_; }
  const NearestCode& nearest() const { return nearest_; }
  bool keeps_sign() const { return keeps_sign_; }
  uint8_t zero_block() const { return zero_block_; }  // the code of all of a block of zeros

 private:
  StateView view_;
  NearestCode nearest_;
  bool keeps_sign_ = false;
  uint8_t zero_block_ = 0;
};

}  // namespace nibble::cpu
