#include "serving/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "tests/support/data.h"
#include "tests/support/safetensors_lite.h"

namespace nibble::serving {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(size_t n, uint64_t seed, double scale) {
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i)
    x[i] = static_cast<float>(scale * random_normal(RngKey{seed, 1, 2, 3}, i));
  return x;
}

TEST(Sampler, ProcessesLogitsAsTheGoldensDo) {
  NIBBLE_REQUIRE_DATA(path, "golden/models/sampling/sampling.json");
  const auto json = nlohmann::json::parse(std::ifstream(path));
  const auto tensors = testing::read_safetensors(path.substr(0, path.size() - 4) + "safetensors");
  int compared = 0;
  for (const auto& c : json.at("cases")) {
    SamplingParams params;
    bool known = true;
    for (const auto& [name, value] : c.at("settings").items()) {
      if (name == "temperature")
        params.temperature = value.get<double>();
      else if (name == "top_k")
        params.top_k = value.get<int64_t>();
      else if (name == "top_p")
        params.top_p = value.get<double>();
      else
        known = false;
    }
    if (!known) continue;
    const std::string id = c.at("id").dump();
    const Tensor& logits = tensors.at("logits." + c.at("logits").get<std::string>());
    const auto n = static_cast<size_t>(logits.numel());
    const auto z = process_logits({logits.data<float>(), n}, params);
    const float* expected = tensors.at(id + ".processed").data<float>();
    const float* probabilities = tensors.at(id + ".probabilities").data<float>();
    double top = -1e300, total = 0;
    for (const double v : z) top = std::max(top, v);
    for (const double v : z) total += std::exp(v - top);
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(std::isinf(z[i]), std::isinf(expected[i])) << "case " << id << " token " << i;
      if (!std::isinf(z[i])) {
        ASSERT_NEAR(z[i], expected[i], 1e-5 * std::max(1.0, std::abs(z[i])));
      }
      ASSERT_NEAR(std::exp(z[i] - top) / total, probabilities[i], 1e-5);
    }
    ++compared;
  }
  EXPECT_EQ(compared, 41);
}

TEST(Sampler, KeepsTiesWithTheKthAndTheSmallestSetThatReachesP) {
  SamplingParams k;
  k.top_k = 2;
  const auto kept = [](const std::vector<double>& z) {
    std::vector<size_t> ids;
    for (size_t i = 0; i < z.size(); ++i)
      if (!std::isinf(z[i])) ids.push_back(i);
    return ids;
  };
  EXPECT_EQ(kept(process_logits(std::vector<float>{3, 1, 2, 2, 0}, k)),
            (std::vector<size_t>{0, 2, 3}));
  // Probabilities 0.5, 0.25, 0.125, 0.125.
  const std::vector<float> halves{std::log(4.f), std::log(2.f), 0, 0};
  SamplingParams p;
  p.top_p = 0.6;
  EXPECT_EQ(kept(process_logits(halves, p)), (std::vector<size_t>{0, 1}));
  p.top_p = 0.8;
  EXPECT_EQ(kept(process_logits(halves, p)), (std::vector<size_t>{0, 1, 2}));
  p.top_p = 1e-9;
  EXPECT_EQ(kept(process_logits(halves, p)), (std::vector<size_t>{0}));
}

TEST(Sampler, IsGreedyBelowTheSmallestTemperatureWithTiesToTheLowestId) {
  SamplingParams greedy;
  greedy.temperature = 0;
  EXPECT_EQ(sample(std::vector<float>{1, 5, 5, -kInf}, greedy, {}), 1);
  EXPECT_EQ(sample(std::vector<float>{1, 5, 5, 4}, greedy, {}, std::vector<int32_t>{1, 2}), 3);
}

TEST(Sampler, RefusesRowsItCannotRead) {
  SamplingParams greedy, warm;
  greedy.temperature = 0;
  for (const SamplingParams& params : {greedy, warm}) {
    EXPECT_EQ(sample(std::vector<float>{1, std::nanf(""), 2}, params, {}), -1);
    EXPECT_EQ(sample(std::vector<float>{1, kInf, 2}, params, {}), -1);
    EXPECT_EQ(sample(std::vector<float>{-kInf, -kInf}, params, {}), -1);
    EXPECT_EQ(sample(std::vector<float>{0, 1}, params, {}, std::vector<int32_t>{0, 1}), -1);
    EXPECT_EQ(sample(std::vector<float>{-kInf, -90, -kInf}, params, {}), 1);
  }
}

TEST(Sampler, DrawsEachTokenAsOftenAsItsProbability) {
  const std::vector<float> logits{0, std::log(2.f), -kInf, std::log(5.f)};
  SamplingParams params;
  std::vector<int> count(4);
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) ++count[static_cast<size_t>(sample(logits, params, {11, 0, i}))];
  EXPECT_EQ(count[2], 0);
  EXPECT_NEAR(count[0], kDraws / 8.0, 5 * std::sqrt(kDraws / 8.0));
  EXPECT_NEAR(count[1], kDraws / 4.0, 5 * std::sqrt(kDraws / 4.0));
}

TEST(Sampler, DrawsByTheInverseOfTheCumulativeSumAtItsCounter) {
  const std::vector<float> logits = random_logits(300, 4, 2);
  SamplingParams params;
  params.temperature = 0.7;
  for (int64_t position = 0; position < 200; ++position) {
    const double u =
        random_uniform(RngKey{9, rng_site("sample"), 3, 0}, static_cast<uint64_t>(position));
    long double total = 0, sum = 0;
    for (const float v : logits) total += std::exp(v / 0.7L);
    int32_t expected = 0;
    for (; expected < 299; ++expected) {
      sum += std::exp(logits[static_cast<size_t>(expected)] / 0.7L);
      if (u * total < sum) break;
    }
    EXPECT_EQ(sample(logits, params, {9, 3, position}), expected);
  }
}

TEST(Sampler, ChangesWithSeedChoiceAndPosition) {
  const std::vector<float> flat(1000, 0.f);
  SamplingParams params;
  const auto draws = [&](uint64_t seed, int choice, int64_t from) {
    std::vector<int32_t> out;
    for (int64_t p = from; p < from + 8; ++p)
      out.push_back(sample(flat, params, {seed, choice, p}));
    return out;
  };
  EXPECT_EQ(draws(1, 0, 0), draws(1, 0, 0));
  EXPECT_NE(draws(1, 0, 0), draws(2, 0, 0));
  EXPECT_NE(draws(1, 0, 0), draws(1, 1, 0));
  EXPECT_NE(draws(1, 0, 0), draws(1, 0, 8));
}

TEST(Sampler, ReportsTheLikeliestFirstWithTiesToTheLowestId) {
  const std::vector<float> logits{0, 2, -kInf, 2, 1};
  const auto lse = static_cast<float>(std::log(1 + 2 * std::exp(2.0) + std::exp(1.0)));
  const TokenLogprob l = logprob_of(logits, 4, {lse - 1, lse}, 3);
  EXPECT_EQ(l.logprob, 1 - lse);
  ASSERT_EQ(l.top.size(), 3u);
  EXPECT_EQ(l.top[0].first, 1);
  EXPECT_EQ(l.top[0].second, 2 - lse);
  EXPECT_EQ(l.top[1].first, 3);
  EXPECT_EQ(l.top[2].first, 4);
  EXPECT_EQ(l.top[2].second, l.logprob);
  EXPECT_EQ(logprob_of(logits, 2, {kInf, lse}, 99).logprob, -kInf);
  EXPECT_EQ(logprob_of(logits, 2, {kInf, lse}, 99).top.size(), 5u);
  EXPECT_FALSE(std::signbit(logprob_of(std::vector<float>{0, -kInf}, 0, {0, 0}, 0).logprob));
}

}  // namespace
}  // namespace nibble::serving
