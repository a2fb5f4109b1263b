// The inputs that the shared vectors do not store, remade from their formula (large/README.md):
// numbers exact in fp32, the same in every program.
#pragma once

#include <cmath>
#include <cstdint>

namespace nibble::testing {

inline uint64_t mixed(uint64_t seed, uint64_t i) {
  uint64_t z = i * 0x9E3779B97F4A7C15U + seed * 0xD1B54A32D192ED03U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

// Bell-shaped in (-2, 2), standard deviation 0.577.
inline float bell(uint64_t seed, uint64_t i) {
  const uint64_t z = mixed(seed, i);
  int64_t sum = -131070;
  for (int field = 0; field < 64; field += 16) sum += static_cast<int64_t>(z >> field & 0xFFFF);
  return static_cast<float>(static_cast<double>(sum) / 65536);
}

// The same over `span` binades.
inline float bell_wide(uint64_t seed, uint64_t i, uint64_t span) {
  return std::ldexp(bell(seed, i), -static_cast<int>(mixed(seed + 1, i) % span));
}

}  // namespace nibble::testing
