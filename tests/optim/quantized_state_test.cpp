// What the 8-bit codec costs in quality: nothing that a quadratic shows, with roots; much without.
#include "optim/quantized_state.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/optim/subject.h"

namespace nibble::testing {
namespace {

// The toy quadratic: p starts at 0, the optimum is a random target, gradients are noisy and their
// scales spread over e^(sigma N(0,1)). Adam is blind to scale, so every sigma should end alike.
double quadratic_error(int bits, bool bnb_codec, double sigma) {
  constexpr int64_t kElements = 8192;
  const Device device = Device::cpu(1);
  const Ctx ctx(device, DType::f32);
  Subject s(ctx, kElements, 0);
  std::fill_n(s.p.value.data<float>(), kElements, 0.0F);
  ParameterSettings settings;
  settings.state.bits = bits, settings.state.bnb_codec = bnb_codec;
  const auto optimizer = make_optimizer(ctx, {}, settings, {&s});
  std::vector<double> target(kElements), scale(kElements);
  const auto site = [](int which) { return RngKey{17, static_cast<uint64_t>(which)}; };
  for (size_t i = 0; i < kElements; ++i) {
    target[i] = random_normal(site(1), i);
    scale[i] = std::exp(sigma * random_normal(site(2), i));
  }
  for (int t = 1; t <= 400; ++t) {
    for (size_t i = 0; i < kElements; ++i) {
      const double noise = 0.1 * bell(static_cast<uint64_t>(t), i);
      s.p.grad.data<float>()[i] =
          static_cast<float>(1e-3 * scale[i] * (s.p.value.data<float>()[i] - target[i] + noise));
    }
    optimizer->step(ctx, 3e-2, t, 1);
  }
  double sum = 0;
  for (size_t i = 0; i < kElements; ++i) sum += std::abs(s.p.value.data<float>()[i] - target[i]);
  return sum / kElements;
}

TEST(QuantizedState, CodesOfTheRootOfVTrainAsWellAsFp32) {
  for (const double sigma : {1.5, 2.0, 2.5}) {
    EXPECT_LE(quadratic_error(8, false, sigma), 1.1 * quadratic_error(32, false, sigma))
        << "sigma " << sigma;
  }
}

TEST(QuantizedState, CodesOfVItselfDoNot) {
  EXPECT_GE(quadratic_error(8, true, 2.5), 2 * quadratic_error(32, false, 2.5));
}

TEST(QuantizedState, KeepsTwoBytesAParameterAndSmallTensorsInFp32) {
  const Device device = Device::cpu(1);
  const Ctx ctx(device, DType::f32);
  Subject big(ctx, 4096, 0), small(ctx, 4095, 1);
  ParameterSettings settings;
  EXPECT_EQ(make_optimizer(ctx, {}, settings, {&big})->bytes(), 2 * 4096 * 4);
  settings.state.bits = 8;
  EXPECT_EQ(make_optimizer(ctx, {}, settings, {&big})->bytes(), 2 * (4096 + 16 * 4));
  EXPECT_EQ(make_optimizer(ctx, {}, settings, {&small})->bytes(), 2 * 4095 * 4);
  settings.state.min_elements = 64;
  EXPECT_EQ(make_optimizer(ctx, {}, settings, {&small})->bytes(), 2 * (4095 + 16 * 4));
}

TEST(QuantizedState, DoesNotReadCodesOfVAsCodesOfItsRoot) {
  const Device device = Device::cpu(1);
  const Ctx ctx(device, DType::f32);
  Subject s(ctx, 5000, 0);
  ParameterSettings root, plain;
  root.state.bits = plain.state.bits = 8;
  plain.state.bnb_codec = true;
  const auto a = make_optimizer(ctx, {}, root, {&s}), b = make_optimizer(ctx, {}, plain, {&s});
  EXPECT_THROW(a->load(b->state()), UserError);
}

}  // namespace
}  // namespace nibble::testing
