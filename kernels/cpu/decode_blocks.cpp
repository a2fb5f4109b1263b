// Blocks of a GGUF file, element by element, as kernels/table.h spells them. Each product and sum
// is one fp32 operation, so that the values are those of the reference implementation bit for bit.
#include "kernels/cpu/decode.h"
#include "kernels/float_types.h"

namespace nibble::cpu::scalar {
namespace {

float half_at(const uint8_t* p) { return widen(f16{static_cast<uint16_t>(p[0] | p[1] << 8)}); }

// Of a block of 32.
int nibble_at(const uint8_t* qs, int64_t i) { return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4; }
int fifth_bit(const uint8_t* qh, int64_t i) { return (qh[i / 8] >> i % 8 & 1) << 4; }

// Of a block of 256: the nibble of element i, and the scale and minimum of group g.
int group_nibble(const uint8_t* qs, int64_t i) {
  return qs[i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15;
}
int group_scale(const uint8_t* s, int64_t g) {
  return g < 4 ? s[g] & 63 : (s[4 + g] & 15) | s[g - 4] >> 6 << 4;
}
int group_minimum(const uint8_t* s, int64_t g) {
  return g < 4 ? s[4 + g] & 63 : s[4 + g] >> 4 | s[g] >> 6 << 4;
}

float scaled(const uint8_t* b, const uint8_t* scales, int64_t g, int q) {
  const float scale = half_at(b) * static_cast<float>(group_scale(scales, g));
  const float minimum = half_at(b + 2) * static_cast<float>(group_minimum(scales, g));
  return scale * static_cast<float>(q) - minimum;
}

float q6_k(const uint8_t* b, int64_t i) {
  const int64_t half = i / 128, g = i % 128 / 32;
  const int low = b[64 * half + 32 * (g % 2) + i % 32] >> g / 2 * 4 & 15;
  const int high = (b[128 + 32 * half + i % 32] >> 2 * g & 3) << 4;
  const float scale = half_at(b + 208) * static_cast<float>(static_cast<int8_t>(b[192 + i / 16]));
  return scale * static_cast<float>((low | high) - 32);
}

float element(BlockCode code, const uint8_t* b, int64_t i) {
  const auto number = [](int q) { return static_cast<float>(q); };
  switch (code) {
    case BlockCode::q8_0:
      return half_at(b) * number(static_cast<int8_t>(b[2 + i]));
    case BlockCode::q4_0:
      return half_at(b) * number(nibble_at(b + 2, i) - 8);
    case BlockCode::q4_1:
      return half_at(b) * number(nibble_at(b + 4, i)) + half_at(b + 2);
    case BlockCode::q5_0:
      return half_at(b) * number((nibble_at(b + 6, i) | fifth_bit(b + 2, i)) - 16);
    case BlockCode::q5_1:
      return half_at(b) * number(nibble_at(b + 8, i) | fifth_bit(b + 4, i)) + half_at(b + 2);
    case BlockCode::q4_k:
      return scaled(b, b + 4, i / 32, group_nibble(b + 16, i));
    case BlockCode::q5_k:
      return scaled(b, b + 4, i / 32,
                    group_nibble(b + 48, i) | (b[16 + i % 32] >> i / 32 & 1) << 4);
    case BlockCode::q6_k:
      return q6_k(b, i);
  }
  return 0;
}

}  // namespace

void blocks_row(const WeightView& w, int64_t n, int64_t k0, int64_t k1, double* out) {
  const uint8_t* row = static_cast<const uint8_t*>(w.codes) + n * w.pitch;
  for (int64_t k = k0; k < k1; ++k) {
    out[k - k0] = element(w.code, row + k / w.block * w.block_bytes, k % w.block);
  }
}

}  // namespace nibble::cpu::scalar
