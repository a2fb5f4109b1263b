// Philox against its published vectors, the fold of a key against a second implementation, and what
// the numbers are used for: uniform, normal, permuted.
#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "base/errors.h"

namespace nibble {
namespace {

// Random123-1.14, tests/kat_vectors, lines "philox4x32 10".
TEST(Random, PhiloxMatchesItsPublishedVectors) {
  using C = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (C{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t f = 0xffffffff;
  EXPECT_EQ(philox4x32({f, f, f, f}, {f, f}), (C{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (C{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Checkpoints and goldens rely on these: the fold of a key must never change. The values come from
// a Python program of the rules in base/random.h.
TEST(Random, AKeyAndACounterAlwaysGiveTheSameNumber) {
  struct Row {
    RngKey key;
    uint64_t position, column;
    uint32_t word;
    double uniform, normal;
  };
  const std::vector<Row> rows = {
      {{0u, 0u, 0u, 0u}, 0u, 0u, 0xd8a1c1acu, 0.5110222932058894, -0.36118994012703354},
      {{42u, 7u, 3u, 1u}, 5u, 6u, 0x935d4cfcu, 0.9002007577345065, -1.6694298913074812},
      {{18446744073709551615u, 1u, 2u, 3u},
       8589934593u,
       1099511627779u,
       0xdc9d71f4u,
       0.08398786228795296,
       -0.15728059500410121}};
  for (const Row& row : rows) {
    EXPECT_EQ(random_u32(row.key, row.position, row.column), row.word);
    EXPECT_EQ(random_uniform(row.key, row.position, row.column), row.uniform);
    EXPECT_NEAR(random_normal(row.key, row.position, row.column), row.normal, 1e-14);
    EXPECT_EQ(random_u32(rng_stream(row.key), row.position, row.column), row.word);
  }
}

TEST(Random, EveryPartOfKeyAndCounterMatters) {
  const uint64_t big = uint64_t{1} << 63;
  std::set<uint64_t> seen;
  const auto add = [&](const RngKey& key, uint64_t position, uint64_t block) {
    const auto words = random_block(rng_stream(key), position, block);
    seen.insert(static_cast<uint64_t>(words[0]) << 32 | words[1]);
  };
  add({}, 0, 0);
  for (const uint64_t v : {uint64_t{1}, uint64_t{1} << 32, big}) {
    add({v, 0, 0, 0}, 0, 0);
    add({0, v, 0, 0}, 0, 0);
    add({0, 0, v, 0}, 0, 0);
    add({0, 0, 0, v}, 0, 0);
    add({}, v, 0);
    add({}, 0, v);
  }
  EXPECT_EQ(seen.size(), 19u);
  EXPECT_NE(rng_site("lora_dropout"), rng_site("data"));
}

TEST(Random, UniformNumbersFillTheirInterval) {
  const RngKey key{1, 2, 3, 4};
  const int n = 20000;
  std::vector<double> values;
  for (int i = 0; i < n; ++i) values.push_back(random_uniform(key, i));
  std::sort(values.begin(), values.end());
  EXPECT_GE(values.front(), 0);
  EXPECT_LT(values.back(), 1);
  double distance = 0;  // Kolmogorov and Smirnov: 1.95 / sqrt(n) is passed by chance once in 1000
  for (int i = 0; i < n; ++i) distance = std::max(distance, std::abs(values[i] - (i + 0.5) / n));
  EXPECT_LT(distance, 1.95 / std::sqrt(n));
}

TEST(Random, NormalNumbersFollowTheNormalDistribution) {
  const RngKey key{9, 9, 9, 9};
  const int n = 20000;
  std::vector<double> values;
  for (int i = 0; i < n; ++i) values.push_back(random_normal(key, i / 100, i % 100));
  std::sort(values.begin(), values.end());
  double distance = 0;
  for (int i = 0; i < n; ++i) {
    const double expected = 0.5 * std::erfc(-values[i] / std::sqrt(2.0));
    distance = std::max(distance, std::abs(expected - (i + 0.5) / n));
  }
  EXPECT_LT(distance, 1.95 / std::sqrt(n));
}

TEST(Random, APermutationReachesEveryElementOnce) {
  for (uint64_t n = 1; n <= 130; ++n) {
    std::vector<bool> seen(n, false);
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t p = permuted(i, n, {5, 0, 0, n});
      ASSERT_LT(p, n);
      EXPECT_FALSE(seen[p]) << n;
      seen[p] = true;
    }
  }
  for (const uint64_t n : {1000u, 4096u, 4097u, 10007u}) {
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < n; ++i) seen.insert(permuted(i, n, {7, 1, 0, 0}));
    EXPECT_EQ(seen.size(), n);
    EXPECT_EQ(*seen.rbegin(), n - 1);
  }
  EXPECT_LT(permuted(~uint64_t{0} - 1, ~uint64_t{0}, {}), ~uint64_t{0});
  EXPECT_THROW(permuted(3, 3, {}), Bug);
}

TEST(Random, APermutationChangesWithItsKeyAndMixes) {
  const uint64_t n = 1000;
  int same = 0, fixed_points = 0, neighbours = 0;
  for (uint64_t i = 0; i < n; ++i) {
    same += permuted(i, n, {1, 0, 0, 0}) == permuted(i, n, {1, 0, 0, 1});
    fixed_points += permuted(i, n, {1, 0, 0, 0}) == i;
    if (i > 0) neighbours += permuted(i, n, {1, 0, 0, 0}) == permuted(i - 1, n, {1, 0, 0, 0}) + 1;
  }
  // Each is a Poisson variable of mean 1.
  EXPECT_LT(same, 8);
  EXPECT_LT(fixed_points, 8);
  EXPECT_LT(neighbours, 8);
}

}  // namespace
}  // namespace nibble
