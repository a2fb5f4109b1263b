// The global norm in fp64 and its factor; clipping by value and by percentile.
#include "optim/clip.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

Parameter with_gradient(const Ctx& ctx, int64_t n, uint64_t site) {
  Parameter p{"p", {}, ctx.empty({n}, DType::f32, Purpose::gradient), true};
  for (int64_t i = 0; i < n; ++i) {
    p.grad.data<float>()[i] =
        static_cast<float>(random_normal(RngKey{1, site}, static_cast<uint64_t>(i)));
  }
  return p;
}

TEST(Clip, NormIsTheRootOfAllSquares) {
  const Device device = Device::cpu(2);
  const Ctx ctx(device, DType::f32);
  Parameter a = with_gradient(ctx, 10001, 1), b = with_gradient(ctx, 7, 2);
  Parameter without{"frozen so far", {}, {}, true};
  const std::vector<Parameter*> all = {&a, &without, &b};
  double sum = 0;
  for (const Parameter* p : {&a, &b}) {
    for (int64_t i = 0; i < p->grad.numel(); ++i) {
      sum += std::pow(static_cast<double>(p->grad.data<float>()[i]), 2);
    }
  }
  EXPECT_NEAR(global_norm(ctx, all), std::sqrt(sum), 1e-12 * std::sqrt(sum));
  EXPECT_NEAR(global_norm(ctx, all, 0.25), std::sqrt(sum) / 4, 1e-12 * std::sqrt(sum));
  b.grad.data<float>()[3] = INFINITY;
  EXPECT_FALSE(std::isfinite(global_norm(ctx, all)));
}

TEST(Clip, NormHasTheSameBitsOnAnyNumberOfThreads) {
  const Device one = Device::cpu(1), four = Device::cpu(4);
  const Ctx ctx(one, DType::f32), other(four, DType::f32);
  Parameter a = with_gradient(ctx, 100003, 3);
  const std::vector<Parameter*> all = {&a};
  EXPECT_EQ(global_norm(ctx, all), global_norm(other, all));
}

TEST(Clip, FactorIsOneBelowTheLimitAndTheRatioAbove) {
  EXPECT_EQ(clip_factor(0.5, 1), 1);
  EXPECT_EQ(clip_factor(4, 1), 1 / (4 + 1e-6));
  EXPECT_EQ(clip_factor(100, 0), 1);  // 0: no clipping
}

TEST(Clip, ValuesEndAtTheLimitAndSmallerOnesStay) {
  const Device device = Device::cpu(2);
  const Ctx ctx(device, DType::f32);
  Parameter p = with_gradient(ctx, 5000, 4);
  Parameter without{"frozen so far", {}, {}, true};
  std::vector<float> before(p.grad.data<float>(), p.grad.data<float>() + 5000);
  const std::vector<Parameter*> all = {&p, &without};
  clip_values(ctx, all, 0.5);
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_EQ(p.grad.data<float>()[i], std::min(0.5F, std::max(-0.5F, before[i])));
}

TEST(PercentileClip, FollowsTheReferenceTrace) {
  NIBBLE_REQUIRE_DATA(path, "golden/quantization/optim/percentile_clipping.json");
  const Json trace = read_json(path);
  const int64_t percentile = trace["percentile"];
  PercentileClip zeros(percentile, PercentileClip::Start::zeros), seen(percentile);
  int64_t compared = 0;
  for (const Json& row : trace["rows"]) {
    const double norm = row[1], limit = row[2], factor = row[3];
    EXPECT_NEAR(zeros.factor(norm), factor, 1e-12 * factor) << row;
    EXPECT_NEAR(zeros.limit(), limit, 1e-12 * limit) << row;
    const double own = seen.factor(norm);
    EXPECT_GT(own, 0) << row;
    // With a hundred steps seen, how it began makes no difference.
    if (row[0].get<int64_t>() < PercentileClip::kRing) continue;
    EXPECT_NEAR(own, factor, 1e-12 * factor) << row;
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

TEST(PercentileClip, BeforeAHundredStepsTakesThePercentileOfThoseSeen) {
  PercentileClip clip(50);
  EXPECT_EQ(clip.factor(4), 1);           // the first is its own limit
  EXPECT_EQ(clip.factor(2), 1);           // of 2, 4 the second from 0: 4
  EXPECT_DOUBLE_EQ(clip.factor(8), 0.5);  // of 2, 4, 8 the second: 4
  EXPECT_EQ(clip.factor(1), 1);
}

TEST(PercentileClip, GoesOnFromASavedStateWithTheSameBits) {
  PercentileClip whole(10), part(10);
  for (uint64_t i = 0; i < 250; ++i) {
    const double norm = std::exp(random_normal(RngKey{3, 1}, i));
    EXPECT_EQ(whole.factor(norm), part.factor(norm)) << i;
    PercentileClip next(10);
    next.set_state(part.state());
    part = next;
  }
}

}  // namespace
}  // namespace nibble
