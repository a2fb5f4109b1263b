// The index of the nearest of up to 256 sorted values, exactly: with a tie the lower one. The
// border between two neighbours is their real midpoint; rounded down to a float it still divides
// the floats as the midpoint does, so that one fp32 comparison decides.
#pragma once

#include <cstdint>

namespace nibble::cpu {

class NearestCode {
 public:
  explicit NearestCode(const float* map);  // 256 entries, ascending
  // Other borders than midpoints: x > borders[c] is above code c, of 255.
  static NearestCode with_borders(const float* borders);

  // NaN: some code.
  uint8_t operator()(float x) const;
  // The same, found through the first 16 bits of x; prepare() before. Worth it from some thousand
  // values on.
  void prepare();
  void encode(const float* x, int64_t n, uint8_t* codes) const;
  // How many values until prepare() pays.
  static constexpr int64_t kWorthPreparing = 4096;

  uint8_t zero() const { return zero_; }  // the code of 0
  const float* borders() const { return border_; }

 private:
  NearestCode() = default;
  float border_[256];       // x > border_[c]: above code c; the last is infinite
  uint8_t first_[1 << 16];  // by the first 16 bits of x: the lowest code of any such x
  bool prepared_ = false, deep_ = false;
  uint8_t zero_ = 0;
};

// The largest float not above the midpoint of a and b.
float midpoint_rounded_down(float a, float b);

}  // namespace nibble::cpu
