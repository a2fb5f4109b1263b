#include "quant/group_codes.h"

#include <algorithm>
#include <cmath>

#include "quant/block_codes.h"

namespace nibble {
namespace {

constexpr float kNothing = 1e-15f;  // a group below it is all zero

int nearest(float x) { return static_cast<int>(std::lrintf(x)); }

// One step of the search of an affine group: its codes, corrected.
struct Fit {
  float scale, minimum, error;
  bool valid;
};

struct Weighted {
  const float* x;
  float w[32];
  float sum_w = 0, sum_x = 0;
};

float squared_error(const Weighted& g, const int* codes, float scale, float low) {
  float error = 0;
  for (int i = 0; i < 32; ++i) {
    const float difference = scale * static_cast<float>(codes[i]) + low - g.x[i];
    error += g.w[i] * (difference * difference);
  }
  return error;
}

void codes_of(const Weighted& g, float inverse, float low, int top, int* codes) {
  for (int i = 0; i < 32; ++i) codes[i] = std::clamp(nearest(inverse * (g.x[i] - low)), 0, top);
}

Fit corrected(const Weighted& g, float inverse, float low, int top, int* codes) {
  codes_of(g, inverse, low, top, codes);
  float sum_l = 0, sum_l2 = 0, sum_xl = 0;
  for (int i = 0; i < 32; ++i) {
    const float wl = g.w[i] * static_cast<float>(codes[i]);
    sum_l += wl;
    sum_l2 += wl * static_cast<float>(codes[i]);
    sum_xl += wl * g.x[i];
  }
  const float determinant = g.sum_w * sum_l2 - sum_l * sum_l;
  if (!(determinant > 0)) return {0, 0, 0, false};
  float scale = (g.sum_w * sum_xl - g.sum_x * sum_l) / determinant;
  float minimum = (sum_l2 * g.sum_x - sum_l * sum_xl) / determinant;
  if (minimum > 0) {
    minimum = 0;
    scale = sum_xl / sum_l2;
  }
  return {scale, minimum, squared_error(g, codes, scale, minimum), true};
}

}  // namespace

AffineGroup fit_affine_group(const float* x, int top, float first, int tries, uint8_t* out) {
  Weighted g{x, {}};
  float squares = 0;
  for (int i = 0; i < 32; ++i) squares += x[i] * x[i];
  const float mean = std::sqrt(squares / 32);
  float low = x[0], high = x[0];
  for (int i = 0; i < 32; ++i) {
    g.w[i] = mean + std::fabs(x[i]);
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    // The first terms start the sums; adding them to zero is the same.
    g.sum_w += g.w[i];
    g.sum_x += g.w[i] * x[i];
  }
  low = std::min(low, 0.0f);
  std::fill(out, out + 32, uint8_t{0});
  if (high == low) return {0, -low};
  int codes[32];
  const auto steps = static_cast<float>(top);
  const float inverse = steps / (high - low);
  codes_of(g, inverse, low, top, codes);
  std::copy(codes, codes + 32, out);
  float origin = low;  // follows the best minimum so far
  Fit best{1 / inverse, low, squared_error(g, codes, 1 / inverse, low), true};
  for (int i = 0; i <= tries; ++i) {
    const float step = (first + 0.1f * static_cast<float>(i) + steps) / (high - origin);
    const Fit fit = corrected(g, step, origin, top, codes);
    if (!fit.valid || !(fit.error < best.error)) continue;
    best = fit;
    std::copy(codes, codes + 32, out);
    origin = fit.minimum;
  }
  return {best.scale, -best.minimum};
}

float fit_centred_group(const float* x, uint8_t* out) {
  float size = 0, largest = 0;
  for (int i = 0; i < 16; ++i)
    if (std::fabs(x[i]) > size) {
      size = std::fabs(x[i]);
      largest = x[i];
    }
  std::fill(out, out + 16, uint8_t{0});
  if (size < kNothing) return 0;
  float best_scale = 0, best = 0;
  // The obvious step first, then those around it.
  constexpr int kOrder[] = {0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  for (const int i : kOrder) {
    const float inverse = i == 0 ? -32 / largest : -(32 + 0.1f * static_cast<float>(i)) / largest;
    float sum_xl = 0, sum_l2 = 0;
    uint8_t codes[16];
    for (int j = 0; j < 16; ++j) {
      const int rounded = std::clamp(nearest(inverse * x[j]), -32, 31);
      codes[j] = static_cast<uint8_t>(rounded + 32);
      const auto code = static_cast<float>(rounded);
      const float w = x[j] * x[j];
      sum_xl += w * x[j] * code;
      sum_l2 += w * code * code;
    }
    if (i != 0 && !(sum_l2 > 0 && sum_xl * sum_xl > best * sum_l2)) continue;
    best_scale = sum_l2 != 0 ? sum_xl / sum_l2 : 0;
    best = best_scale * sum_xl;
    std::copy(codes, codes + 16, out);
  }
  return best_scale;
}

bool encode_affine_groups(const float* x, int top, float first, int tries, uint8_t* block,
                          uint8_t* codes) {
  AffineGroup groups[8];
  float scale = 0, minimum = 0;
  for (int g = 0; g < 8; ++g) {
    groups[g] = fit_affine_group(x + 32 * g, top, first, tries, codes + 32 * g);
    scale = std::max(scale, groups[g].scale);
    minimum = std::max(minimum, groups[g].minimum);
  }
  const bool fits = put_half(scale / 63, block), low_fits = put_half(minimum / 63, block + 2);
  const float d = widen(to_f16(scale / 63)), dmin = widen(to_f16(minimum / 63));
  uint8_t* packed = block + 4;
  for (int i = 0; i < 12; ++i) packed[i] = 0;
  for (int g = 0; g < 8; ++g) {
    const float to_scale = scale > 0 ? 63.0f / scale : 0,
                to_min = minimum > 0 ? 63.0f / minimum : 0;
    const int s = std::min(63, nearest(to_scale * groups[g].scale) & 255);
    const int m = std::min(63, nearest(to_min * groups[g].minimum) & 255);
    if (g < 4) {
      packed[g] = static_cast<uint8_t>(s);
      packed[4 + g] = static_cast<uint8_t>(m);
    } else {
      packed[4 + g] = static_cast<uint8_t>((s & 15) | (m & 15) << 4);
      packed[g - 4] = static_cast<uint8_t>(packed[g - 4] | (s >> 4) << 6);
      packed[g] = static_cast<uint8_t>(packed[g] | (m >> 4) << 6);
    }
    const float step = d * static_cast<float>(s), low = dmin * static_cast<float>(m);
    if (step == 0) continue;  // the codes mean nothing; those of the search stay
    for (int i = 0; i < 32; ++i)
      codes[32 * g + i] =
          static_cast<uint8_t>(std::clamp(nearest((x[32 * g + i] + low) / step), 0, top));
  }
  return fits && low_fits;
}

}  // namespace nibble
