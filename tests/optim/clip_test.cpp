// The global norm in fp64, and its factor.
#include "optim/clip.h"

#include <gtest/gtest.h>

#include <cmath>

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

}  // namespace
}  // namespace nibble
