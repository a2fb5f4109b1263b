// The lines go through the first and the last entry of each decade: 2^i entries in decade i of a
// map with negative entries, twice as many without. Checked against every border.
#include "kernels/cpu/code_lines.h"

#include <algorithm>

#include "kernels/cpu/state_codec.h"

namespace nibble::cpu {
namespace {

constexpr double kBias = 0.2;

double index_of(const CodeLines& lines, double magnitude) {
  double least = 256;
  for (int i = 0; i < CodeLines::kLines; ++i) {
    least = std::min(least, static_cast<double>(lines.slope[i]) * magnitude +
                                static_cast<double>(lines.offset[i]));
  }
  return least;
}

// Whether the index at the border above entry k tells k or the one below, with room for rounding.
bool tells(const CodeLines& lines, int k, double border) {
  const double index = index_of(lines, border);
  return (k == 0 || index >= k + 0.01) && index <= k + 0.99;
}

}  // namespace

bool code_lines(const StateView& view, bool bnb_codec, CodeLines& out) {
  const StateCodec codec(view, 0, bnb_codec);
  std::copy_n(codec.nearest().borders(), 256, out.borders);
  out.zero = codec.nearest().zero();
  out.zero_block = codec.zero_block();
  out.keeps_sign = codec.keeps_sign();
  const float* map = view.map + out.zero;
  int entry = 1;  // above zero
  double decade = 1e-6;
  for (int i = 0; i < CodeLines::kLines; ++i, decade *= 10) {
    const int entries = (out.keeps_sign ? 1 : 2) << i;
    if (out.zero + entry + entries > 256) return false;
    const double slope = entries / (0.9 * decade);
    out.slope[i] = static_cast<float>(slope);
    out.offset[i] = static_cast<float>(entry - slope * static_cast<double>(map[entry]) - kBias);
    entry += entries;
  }
  for (int k = 0; out.zero + k < 255; ++k) {
    if (!tells(out, k, static_cast<double>(out.borders[out.zero + k]))) return false;
  }
  for (int k = 0; out.zero - k > 0; ++k) {  // mirrored
    if (!tells(out, k, -static_cast<double>(out.borders[out.zero - 1 - k]))) return false;
  }
  return true;
}

}  // namespace nibble::cpu
