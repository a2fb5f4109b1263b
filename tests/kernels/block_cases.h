// Random blocks of GGUF files, made from numbers and written out bit by bit as kernels/table.h
// spells the layouts: the value of an element comes from those numbers, never from the bytes.
#pragma once

#include "tests/kernels/weight_cases.h"

namespace nibble::testing {

struct BlockCase {
  const char* name;
  BlockCode code;
  int64_t block, bytes;
};

inline std::vector<BlockCase> block_cases() {
  return {{"q8_0", BlockCode::q8_0, 32, 34},   {"q4_0", BlockCode::q4_0, 32, 18},
          {"q4_1", BlockCode::q4_1, 32, 20},   {"q5_0", BlockCode::q5_0, 32, 22},
          {"q5_1", BlockCode::q5_1, 32, 24},   {"q4_k", BlockCode::q4_k, 256, 144},
          {"q5_k", BlockCode::q5_k, 256, 176}, {"q6_k", BlockCode::q6_k, 256, 210}};
}

// Numbers of a few steps of a random f16 scale, as a trained weight has them.
class BlockMaker {
 public:
  explicit BlockMaker(uint32_t seed) : random_(seed) {}

  void append_block(BlockCode code, std::vector<uint8_t>& bytes, std::vector<double>& values) {
    switch (code) {
      case BlockCode::q8_0: {
        const float d = half(bytes, 0.01);
        for (int i = 0; i < 32; ++i) {
          const int q = pick(255) - 127;
          bytes.push_back(static_cast<uint8_t>(q));
          values.push_back(d * static_cast<float>(q));
        }
        return;
      }
      case BlockCode::q4_0:
        return of_32(4, 8, false, bytes, values);
      case BlockCode::q4_1:
        return of_32(4, 0, true, bytes, values);
      case BlockCode::q5_0:
        return of_32(5, 16, false, bytes, values);
      case BlockCode::q5_1:
        return of_32(5, 0, true, bytes, values);
      case BlockCode::q4_k:
        return of_256(4, bytes, values);
      case BlockCode::q5_k:
        return of_256(5, bytes, values);
      case BlockCode::q6_k:
        return q6(bytes, values);
    }
  }

 private:
  int pick(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

  // About `size`, put where the bytes end; what it is after rounding to f16.
  float half(std::vector<uint8_t>& bytes, double size) {
    const double x = round_to(DType::f16, size * (0.5 + pick(1000) / 1000.0));
    append(bytes, DType::f16, x);
    return static_cast<float>(x);
  }

  void of_32(int bits, int offset, bool minimum, std::vector<uint8_t>& bytes,
             std::vector<double>& values) {
    const float d = half(bytes, 0.1);
    float m = 0;
    if (minimum) m = half(bytes, 0.7);
    int q[32];
    uint8_t low[16] = {}, high[4] = {};
    for (int i = 0; i < 32; ++i) {
      q[i] = pick(1 << bits);
      low[i % 16] = static_cast<uint8_t>(low[i % 16] | (q[i] & 15) << (i < 16 ? 0 : 4));
      high[i / 8] = static_cast<uint8_t>(high[i / 8] | (q[i] >> 4) << i % 8);
      const float scaled = d * static_cast<float>(q[i] - offset);
      values.push_back(scaled + m);
    }
    if (bits == 5) bytes.insert(bytes.end(), high, high + 4);
    bytes.insert(bytes.end(), low, low + 16);
  }

  void of_256(int bits, std::vector<uint8_t>& bytes, std::vector<double>& values) {
    const float d = half(bytes, 0.004), dmin = half(bytes, 0.003);
    int scale[8], minimum[8];
    uint8_t packed[12] = {}, high[32] = {}, low[128] = {};
    for (int g = 0; g < 8; ++g) {
      scale[g] = pick(64), minimum[g] = pick(64);
      const auto put = [&](int at, int x) { packed[at] = static_cast<uint8_t>(packed[at] | x); };
      if (g < 4) {
        put(g, scale[g]), put(4 + g, minimum[g]);
      } else {
        put(4 + g, (scale[g] & 15) | (minimum[g] & 15) << 4);
        put(g - 4, scale[g] >> 4 << 6), put(g, minimum[g] >> 4 << 6);
      }
    }
    for (int i = 0; i < 256; ++i) {
      const int g = i / 32, q = pick(1 << bits);
      uint8_t& byte = low[i / 64 * 32 + i % 32];
      byte = static_cast<uint8_t>(byte | (q & 15) << (g % 2 == 0 ? 0 : 4));
      high[i % 32] = static_cast<uint8_t>(high[i % 32] | (q >> 4) << g);
      const float step = d * static_cast<float>(scale[g]);
      const float shift = dmin * static_cast<float>(minimum[g]);
      const float scaled = step * static_cast<float>(q);
      values.push_back(scaled - shift);
    }
    bytes.insert(bytes.end(), packed, packed + 12);
    if (bits == 5) bytes.insert(bytes.end(), high, high + 32);
    bytes.insert(bytes.end(), low, low + 128);
  }

  void q6(std::vector<uint8_t>& bytes, std::vector<double>& values) {
    uint8_t low[128] = {}, high[64] = {};
    int q[256], scale[16];
    for (int i = 0; i < 256; ++i) {
      q[i] = pick(64);
      const int half = i / 128, g = i % 128 / 32;
      uint8_t& l = low[64 * half + 32 * (g % 2) + i % 32];
      l = static_cast<uint8_t>(l | (q[i] & 15) << (g / 2 == 0 ? 0 : 4));
      uint8_t& h = high[32 * half + i % 32];
      h = static_cast<uint8_t>(h | (q[i] >> 4) << 2 * g);
    }
    bytes.insert(bytes.end(), low, low + 128);
    bytes.insert(bytes.end(), high, high + 64);
    for (int& s : scale) {
      s = pick(256) - 128;
      bytes.push_back(static_cast<uint8_t>(s));
    }
    const float d = half(bytes, 0.0005);
    for (int i = 0; i < 256; ++i) {
      const float step = d * static_cast<float>(scale[i / 16]);
      values.push_back(step * static_cast<float>(q[i] - 32));
    }
  }

  std::mt19937 random_;
};

// (out, blocks of a row) of them.
inline TestWeight block_weight(int64_t out, int64_t blocks, BlockCode code, uint32_t seed) {
  BlockMaker maker(seed);
  TestWeight w;
  for (const BlockCase& c : block_cases()) {
    if (c.code != code) continue;
    w.name = c.name;
    w.view.block = c.block, w.view.block_bytes = c.bytes;
  }
  for (int64_t i = 0; i < out * blocks; ++i) maker.append_block(code, w.codes, w.values);
  w.view.kind = WeightKind::blocks;
  w.view.code = code;
  w.view.out = out, w.view.in = blocks * w.view.block;
  w.view.pitch = blocks * w.view.block_bytes;
  w.view.codes = w.codes.data();
  return w;
}

}  // namespace nibble::testing
