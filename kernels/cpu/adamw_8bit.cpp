// AdamW whose states are 8-bit codes with one scale a block: a block's states are decoded, stepped
// and coded again while they lie in the cache; nothing else is ever stored. Two rules keep small
// states honest. m never changes its sign by rounding: a code of the other sign moves one step.
// v > 0 never becomes 0, or m / eps would leap: with sqrt_v (the codes hold sqrt(v)) it gets at
// least the smallest code above 0.
#include <algorithm>

#include "base/errors.h"
#include "kernels/cpu/adamw_rule.h"
#include "kernels/cpu/block_scale.h"
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/nearest_code.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

constexpr int64_t kMaxBlock = 4096;

struct Codec {
  NearestCode nearest;
  const float* map;

  Codec(const float* values, int64_t n) : nearest(values), map(values) {
    if (n >= NearestCode::kWorthPreparing) nearest.prepare();
  }

  // The codes of x / (its largest magnitude), which is returned; x is overwritten with the
  // quotient.
  float encode(float* x, int64_t n, uint8_t* codes) const {
    const float largest = largest_magnitude(x, n);
    if (largest == 0) {
      for (int64_t i = 0; i < n; ++i) codes[i] = nearest.zero();
      return 0;
    }
    for (int64_t i = 0; i < n; ++i) x[i] /= largest;
    nearest.encode(x, n, codes);
    return largest;
  }
};

// `scaled` is m over its scale: of m's sign, and 0 only where m is (or is too small to matter).
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

struct Block {
  int64_t n;
  float* p;
  const float* g;
  uint8_t* m_codes;
  float* m_absmax;
  uint8_t* v_codes;
  float* v_absmax;
};

// A block's decoded states; v is what the codes hold, sqrt(v) with sqrt_v.
struct States {
  float m[kMaxBlock] = {}, v[kMaxBlock] = {};
};

template <bool kRooted>
void step_values(const AdamWFactors& factors, int64_t n, const float* g, float* p, States& states) {
  const AdamWFactors f = factors;  // nothing written below can be one of its members
  for (int64_t i = 0; i < n; ++i) {
    const float grad = g[i] * f.grad_scale;
    const float held = states.v[i];
    const float m = f.first(states.m[i], grad);
    const float v = f.second(kRooted ? held * held : held, grad);
    const float root = std::sqrt(v);
    states.m[i] = m;
    states.v[i] = kRooted ? root : v;
    p[i] = f.moved(p[i], m, root);
  }
}

void step_block(const AdamWFactors& f, const Block& b, const Codec& first, const Codec& second,
                bool sqrt_v, States& states) {
  const float m_scale = *b.m_absmax, v_scale = *b.v_absmax;
  for (int64_t i = 0; i < b.n; ++i) {
    states.m[i] = first.map[b.m_codes[i]] * m_scale;
    states.v[i] = second.map[b.v_codes[i]] * v_scale;
  }
  if (sqrt_v) {
    step_values<true>(f, b.n, b.g, b.p, states);
  } else {
    step_values<false>(f, b.n, b.g, b.p, states);
  }
  *b.m_absmax = first.encode(states.m, b.n, b.m_codes);
  if (*b.m_absmax != 0) repair_signs(states.m, b.n, first.map, b.m_codes);
  *b.v_absmax = second.encode(states.v, b.n, b.v_codes);
  if (sqrt_v && *b.v_absmax != 0) {
    keep_above_zero(states.v, b.n, second.nearest.zero(), b.v_codes);
  }
}

}  // namespace

void adamw_8bit(Stream& stream, int64_t n, const AdamWStep& step, int64_t block, float* p,
                const float* g, uint8_t* m_codes, float* m_absmax, uint8_t* v_codes,
                float* v_absmax, const float* signed_map, const float* unsigned_map, bool sqrt_v) {
  check(block >= 1 && block <= kMaxBlock, cat("adamw_8bit: blocks of ", block, ", at most 4096"));
  const AdamWFactors f(step);
  const Codec first(signed_map, n), second(unsigned_map, n);
  const int64_t grain = std::max<int64_t>(1, 8192 / block);
  stream.pool().parallel_for((n + block - 1) / block, grain, [&](int64_t begin, int64_t end) {
    States states;
    for (int64_t k = begin; k < end; ++k) {
      const int64_t at = k * block;
      const Block part{std::min(block, n - at),
                       p + at,
                       g + at,
                       m_codes + at,
                       m_absmax + k,
                       v_codes + at,
                       v_absmax + k};
      step_block(f, part, first, second, sqrt_v, states);
    }
  });
}

}  // namespace nibble::cpu::scalar
