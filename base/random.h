// Counter-based random numbers (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A number is a function of its key and counter: packing, ranks, threads and
// recompute cannot change it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace nibble {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// What a random number is for. `site` names the place (a dropout site, a parameter's start, data
// order), `sample` the document or request, `epoch` the pass over the data.
struct RngKey {
  uint64_t seed = 0;
  uint64_t site = 0;
  uint64_t sample = 0;
  uint64_t epoch = 0;
};

uint64_t rng_site(std::string_view name);  // a stable 64-bit name of a site

// A key folded into the words of Philox: each 64-bit field in turn goes through SplitMix64 into two
// accumulators; one is the Philox key, the other the tweak. The counter of block b at position p is
// {lo(b), lo(p), tweak[0] ^ hi(b), tweak[1] ^ hi(p)}: within a key no two numbers share a counter.
// Loops fold once and draw from the stream.
struct RngStream {
  std::array<uint32_t, 2> key, tweak;
};
RngStream rng_stream(const RngKey& key);
std::array<uint32_t, 4> random_block(const RngStream& stream, uint64_t position, uint64_t block);

// A 32-bit number is word column % 4 of block column / 4: four columns cost one block. A uniform
// or normal number takes block `column` for itself (53 bits each from words 0, 1 and 2, 3).
uint32_t random_u32(const RngStream& stream, uint64_t position, uint64_t column = 0);
double random_normal(const RngStream& stream, uint64_t position, uint64_t column = 0);
uint32_t random_u32(const RngKey& key, uint64_t position, uint64_t column = 0);
double random_uniform(const RngKey& key, uint64_t position, uint64_t column = 0);  // in [0, 1)
double random_normal(const RngKey& key, uint64_t position, uint64_t column = 0);   // N(0, 1)

// A keyed permutation of [0, n) by cycle-walking a Feistel network: element i of epoch e without a
// stored shuffle.
uint64_t permuted(uint64_t index, uint64_t n, const RngKey& key);

}  // namespace nibble
