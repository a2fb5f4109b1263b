#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nibble {
namespace {

double yarn_bound(const RopeBlueprint& r, double rotations) {
  const double length = static_cast<double>(r.original_positions);
  return static_cast<double>(r.rotary) * std::log(length / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(r.theta));
}

// Share of interpolation of pair i: 0 for fast pairs, 1 for slow ones, a ramp between.
double yarn_ramp(const RopeBlueprint& r, int64_t i) {
  double low = yarn_bound(r, r.beta_fast), high = yarn_bound(r, r.beta_slow);
  if (r.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(r.rotary - 1));
  if (low == high) high += 0.001;
  return std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

double llama3(const RopeBlueprint& r, double frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double length = static_cast<double>(r.original_positions);
  if (wavelength < length / r.high_freq_factor) return frequency;
  if (wavelength > length / r.low_freq_factor) return frequency / r.factor;
  const double smooth =
      (length / wavelength - r.low_freq_factor) / (r.high_freq_factor - r.low_freq_factor);
  return (1 - smooth) * frequency / r.factor + smooth * frequency;
}

double base_of(const RopeBlueprint& r, int64_t length) {
  if (r.scaling != RopeScaling::dynamic || length <= r.original_positions) return r.theta;
  const double trained = static_cast<double>(r.original_positions);
  const double stretch = r.factor * static_cast<double>(length) / trained - (r.factor - 1);
  const double rotary = static_cast<double>(r.rotary);
  return r.theta * std::pow(stretch, rotary / (rotary - 2));
}

}  // namespace

const char* name_of(RopeScaling scaling) {
  const char* const names[] = {"none", "linear", "dynamic", "llama3", "yarn", "longrope"};
  return names[static_cast<size_t>(scaling)];
}

RopeLength length_rule(const RopeBlueprint& rope) {
  if (rope.scaling == RopeScaling::dynamic) return RopeLength::by_token;
  if (rope.scaling == RopeScaling::longrope) return RopeLength::by_text;
  return RopeLength::none;
}

std::vector<double> rope_frequencies(const RopeBlueprint& r, int64_t length) {
  std::vector<double> all(static_cast<size_t>(r.rotary / 2));
  const double base = base_of(r, length);
  const std::vector<double>& factors =
      length > r.original_positions ? r.long_factor : r.short_factor;
  for (size_t i = 0; i < all.size(); ++i) {
    const double plain =
        std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(r.rotary));
    switch (r.scaling) {
      case RopeScaling::none:
      case RopeScaling::dynamic:
        all[i] = plain;
        break;
      case RopeScaling::linear:
        all[i] = plain / r.factor;
        break;
      case RopeScaling::llama3:
        all[i] = llama3(r, plain);
        break;
      case RopeScaling::yarn: {
        const double ramp = yarn_ramp(r, static_cast<int64_t>(i));
        all[i] = plain / r.factor * ramp + plain * (1 - ramp);
        break;
      }
      case RopeScaling::longrope:
        all[i] = plain / factors[i];
        break;
    }
  }
  return all;
}

}  // namespace nibble
