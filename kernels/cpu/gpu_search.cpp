// From entry 127, steps of 64 … 1, up where x > entry. What the search ends beside decides a tie:
// it needs more than the midpoint to go up from there, less to go down.
#include "kernels/cpu/gpu_search.h"

#include <cmath>
#include <limits>

namespace nibble::cpu {
namespace {

float midpoint(float a, float b) { return (a + b) * 0.5f; }

}  // namespace

uint8_t gpu_search(const float* map, float x) {
  int at = 127, low = 0, high = 255;
  for (int step = 64; step > 0; step /= 2) {
    const bool above = x > map[at];
    (above ? low : high) = at;
    at += above ? step : -step;
  }
  if (x > map[at]) return static_cast<uint8_t>(x > midpoint(map[high], map[at]) ? high : at);
  return static_cast<uint8_t>(x < midpoint(map[low], map[at]) ? low : at);
}

NearestCode gpu_codes(const float* map) {
  float borders[255];
  for (int code = 0; code < 255; ++code) {
    const float middle = midpoint(map[code], map[code + 1]);
    const bool tie_goes_up = gpu_search(map, middle) > code;
    borders[code] =
        tie_goes_up ? std::nextafter(middle, -std::numeric_limits<float>::infinity()) : middle;
  }
  return NearestCode::with_borders(borders);
}

}  // namespace nibble::cpu
