// Codes of x over the largest magnitude of its block.
#include "kernels/cpu/state_codec.h"

#include <algorithm>
#include <limits>

#include "base/errors.h"
#include "kernels/cpu/block_scale.h"
#include "kernels/cpu/gpu_search.h"

namespace nibble::cpu {
namespace {

constexpr float kNoMap[256] = {};

NearestCode codes_of(const StateView& view, bool bnb_codec) {
  if (view.absmax == nullptr) return NearestCode(kNoMap);
  return bnb_codec ? gpu_codes(view.map) : NearestCode(view.map);
}

// `scaled` has the sign of the state, and is 0 only where it is (or is too small to matter).
void repair_signs(const float* scaled, int64_t n, const float* map, uint8_t* codes) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = bits_of(scaled[i]);
    const auto other = static_cast<int>((bits_of(map[codes[i]]) ^ bits) >> 31);
    const int step = bits >> 31 == 0 ? 1 : -1;
    codes[i] = static_cast<uint8_t>(codes[i] + (scaled[i] != 0 ? other * step : 0));
  }
}

void keep_above_zero(const float* scaled, int64_t n, uint8_t zero, uint8_t* codes) {
  for (int64_t i = 0; i < n; ++i) {
    codes[i] = static_cast<uint8_t>(codes[i] + (scaled[i] > 0 && codes[i] == zero ? 1 : 0));
  }
}

}  // namespace

StateCodec::StateCodec(const StateView& view, int64_t n, bool bnb_codec)
    : view_(view), nearest_(codes_of(view, bnb_codec)) {
  if (!coded()) return;
  check(view.block >= 1 && view.block <= 4096, cat("state blocks of ", view.block));
  keeps_sign_ = view.map[0] < 0;
  zero_block_ = nearest_.zero();
  if (bnb_codec) {
    // There 0 / 0 is searched for, and where signs are kept the sign of what was found repaired.
    zero_block_ = gpu_search(view.map, std::numeric_limits<float>::quiet_NaN());
    if (keeps_sign_) --zero_block_;
  }
  if (n >= NearestCode::kWorthPreparing) nearest_.prepare();
}

void StateCodec::decode(int64_t begin, int64_t n, float* out) const {
  if (!coded()) {
    std::copy_n(static_cast<const float*>(view_.values) + begin, n, out);
    return;
  }
  const uint8_t* codes = static_cast<const uint8_t*>(view_.values) + begin;
  const float scale = view_.absmax[begin / view_.block];
  for (int64_t i = 0; i < n; ++i) out[i] = view_.map[codes[i]] * scale;
}

void StateCodec::encode(int64_t begin, int64_t n, float* x) const {
  if (!coded()) {
    std::copy_n(x, n, static_cast<float*>(view_.values) + begin);
    return;
  }
  uint8_t* codes = static_cast<uint8_t*>(view_.values) + begin;
  const float largest = largest_magnitude(x, n);
  view_.absmax[begin / view_.block] = largest;
  if (largest == 0) {
    std::fill(codes, codes + n, zero_block_);
    return;
  }
  for (int64_t i = 0; i < n; ++i) x[i] /= largest;
  nearest_.encode(x, n, codes);
  if (keeps_sign_) repair_signs(x, n, view_.map, codes);
  if (view_.root) keep_above_zero(x, n, nearest_.zero(), codes);
}

}  // namespace nibble::cpu
