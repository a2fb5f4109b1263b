// Philox4x32-10 and what is built on it: numbers addressed by key and counter, and permutations of
// any length that are computed, not stored.
#include "base/random.h"

#include <cmath>

#include "base/errors.h"
#include "base/files.h"

namespace nibble {
namespace {

constexpr double kTwoPi = 6.283185307179586476925286766559;

// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection of 64 bits.
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

uint64_t absorbed(uint64_t state, uint64_t field) {
  return mixed(mixed(state + 0x9E3779B97F4A7C15u) ^ field) + 0x9E3779B97F4A7C15u;
}

double unit(uint32_t low, uint32_t high) {  // 53 bits in [0, 1)
  const uint64_t bits = (static_cast<uint64_t>(high) << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53;
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = static_cast<uint64_t>(c[0]) * 0xD2511F53u;
    const uint64_t b = static_cast<uint64_t>(c[2]) * 0xCD9E8D57u;
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(a)};
    k = {k[0] + 0x9E3779B9u, k[1] + 0xBB67AE85u};
  }
  return c;
}

uint64_t rng_site(std::string_view name) { return hash64(name); }

RngStream rng_stream(const RngKey& key) {
  uint64_t a = 0x6E6962626C652061u, b = 0x6E6962626C652062u;  // "nibble a", "nibble b"
  for (const uint64_t field : {key.seed, key.site, key.sample, key.epoch}) {
    a = absorbed(a, field);
    b = absorbed(b, field);
  }
  return {{static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32)},
          {static_cast<uint32_t>(b), static_cast<uint32_t>(b >> 32)}};
}

std::array<uint32_t, 4> random_block(const RngStream& stream, uint64_t position, uint64_t block) {
  return philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(position),
                     stream.tweak[0] ^ static_cast<uint32_t>(block >> 32),
                     stream.tweak[1] ^ static_cast<uint32_t>(position >> 32)},
                    stream.key);
}

uint32_t random_u32(const RngStream& stream, uint64_t position, uint64_t column) {
  return random_block(stream, position, column / 4)[column % 4];
}

uint32_t random_u32(const RngKey& key, uint64_t position, uint64_t column) {
  return random_u32(rng_stream(key), position, column);
}

double random_uniform(const RngKey& key, uint64_t position, uint64_t column) {
  const auto words = random_block(rng_stream(key), position, column);
  return unit(words[0], words[1]);
}

double random_normal(const RngStream& stream, uint64_t position, uint64_t column) {
  // Box and Muller 1958. 1 - u lies in (0, 1], so the logarithm is finite.
  const auto words = random_block(stream, position, column);
  const double radius = std::sqrt(-2 * std::log(1 - unit(words[0], words[1])));
  return radius * std::cos(kTwoPi * unit(words[2], words[3]));
}

double random_normal(const RngKey& key, uint64_t position, uint64_t column) {
  return random_normal(rng_stream(key), position, column);
}

uint64_t permuted(uint64_t index, uint64_t n, const RngKey& key) {
  check(index < n, "permuted: the index lies outside the range");
  if (n == 1) return 0;
  // A Feistel network on just enough bits: each round changes one half by a function of the other,
  // so it can be undone and is a permutation of [0, 2^bits). Values outside [0, n) walk on along
  // their cycle until they come back; fewer than half lie outside, so two steps are typical.
  int bits = 1;
  while (bits < 64 && (n - 1) >> bits != 0) ++bits;
  const int low_bits = (bits + 1) / 2;
  const uint64_t low_mask = ~uint64_t{0} >> (64 - low_bits);
  const uint64_t high_mask = bits == low_bits ? 0 : ~uint64_t{0} >> (64 - (bits - low_bits));
  const RngStream stream = rng_stream(key);
  uint64_t value = index;
  do {
    uint64_t low = value & low_mask, high = value >> low_bits;
    for (uint64_t round = 0; round < 8; ++round) {
      const auto words = random_block(stream, round % 2 == 0 ? low : high, round);
      const uint64_t mask = static_cast<uint64_t>(words[1]) << 32 | words[0];
      if (round % 2 == 0) {
        high ^= mask & high_mask;
      } else {
        low ^= mask & low_mask;
      }
    }
    value = high << low_bits | low;
  } while (value >= n);
  return value;
}

}  // namespace nibble
