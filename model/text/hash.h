// Hashes for tables in memory: quick, good in the upper bits, never written to a file.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace nibble::text {

inline constexpr uint64_t kMixA = 0x9E3779B97F4A7C15ull, kMixB = 0xD6E8FEB86659FD93ull;

// Both halves of the 128-bit product.
inline uint64_t fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t hash_text(std::string_view text) {
  const auto read = [](const char* at, size_t bytes) {
    uint64_t part = 0;
    std::memcpy(&part, at, bytes);
    return part;
  };
  const char* at = text.data();
  size_t left = text.size();
  uint64_t hash = left * kMixA;
  for (; left > 16; at += 16, left -= 16) {
    hash = fold(hash ^ read(at, 8) ^ kMixA, read(at + 8, 8) ^ kMixB);
  }
  // The last 16 bytes or fewer, read as two parts that may overlap.
  uint64_t a = 0, b = 0;
  if (left >= 8) {
    a = read(at, 8);
    b = read(at + left - 8, 8);
  } else if (left >= 4) {
    a = read(at, 4);
    b = read(at + left - 4, 4);
  } else if (left > 0) {
    a = static_cast<uint8_t>(at[0]);
    b = static_cast<uint64_t>(static_cast<uint8_t>(at[left / 2])) << 8 |
        static_cast<uint8_t>(at[left - 1]);
  }
  return fold(fold(a ^ kMixA, b ^ kMixB ^ hash), hash ^ kMixB);
}

}  // namespace nibble::text
