#include "kernels/cpu/nearest_code.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/float_types.h"

namespace nibble::cpu {
namespace {

// Where the floats that share their first 16 bits lie among all, ascending: negative ones count
// downwards.
int64_t cell_of(float x) {
  const int64_t top = bits_of(x) >> 16;
  return top >= 0x8000 ? 0xffff - top : 0x8000 + top;
}

}  // namespace

float midpoint_rounded_down(float a, float b) {
  const double x = static_cast<double>(a), y = static_cast<double>(b);
  const double sum = x + y;
  const double y_part = sum - x;
  const double error = (x - (sum - y_part)) + (y - y_part);  // x + y = sum + error (Knuth)
  const double half = sum / 2;  // exact: no double of two floats is tiny
  float nearest = static_cast<float>(half);
  const double back = static_cast<double>(nearest);
  if (back > half || (back == half && error < 0)) {
    nearest = std::nextafter(nearest, -std::numeric_limits<float>::infinity());
  }
  return nearest + 0.0f;  // a border of -0 would come after +0 in the order of bits
}

NearestCode::NearestCode(const float* map) {
  for (int c = 0; c < 255; ++c) border_[c] = midpoint_rounded_down(map[c], map[c + 1]);
  border_[255] = std::numeric_limits<float>::infinity();
  zero_ = (*this)(0.0f);
}

NearestCode NearestCode::with_borders(const float* borders) {
  NearestCode made;
  std::copy(borders, borders + 255, made.border_);
  made.border_[255] = std::numeric_limits<float>::infinity();
  made.zero_ = made(0.0f);
  return made;
}

uint8_t NearestCode::operator()(float x) const {
  int code = 0;
  for (int step = 128; step > 0; step /= 2) code += x > border_[code + step - 1] ? step : 0;
  return static_cast<uint8_t>(code);
}

void NearestCode::prepare() {
  // Cells up to and including the one that border c lies in begin at code c or below.
  int64_t cell = 0, last = -1;
  for (int code = 0; code < 256; ++code) {
    const int64_t end = code == 255 ? 0x10000 : cell_of(border_[code]) + 1;
    if (code < 255 && end == last) deep_ = true;  // two borders in one cell
    last = end;
    if (end <= cell) continue;
    const int64_t middle =
        std::clamp<int64_t>(0x8000, cell, end);  // cells of one sign lie in a row
    std::fill(first_ + (0x10000 - middle), first_ + (0x10000 - cell), static_cast<uint8_t>(code));
    if (end > middle)
      std::fill(first_ + (middle - 0x8000), first_ + (end - 0x8000), static_cast<uint8_t>(code));
    cell = end;
  }
  prepared_ = true;
}

void NearestCode::encode(const float* x, int64_t n, uint8_t* codes) const {
  if (!prepared_) {
    for (int64_t i = 0; i < n; ++i) codes[i] = (*this)(x[i]);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const int code = first_[bits_of(x[i]) >> 16];
    codes[i] = static_cast<uint8_t>(code + (x[i] > border_[code] ? 1 : 0));
  }
  if (!deep_) return;
  for (int64_t i = 0; i < n; ++i) {
    while (x[i] > border_[codes[i]]) ++codes[i];
  }
}

}  // namespace nibble::cpu
