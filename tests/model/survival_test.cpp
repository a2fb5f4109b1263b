// How much of a delta fresh codes keep: none of a light one on a coded base, most on 16-bit
// weights.
#include "model/survival.h"

#include "base/random.h"
#include "model/merge.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

class Survive : public ::testing::Test {
 protected:
  Tensor noise(double scale, const char* name) {
    Tensor t = Tensor::empty(device_.memory(), {64, 256}, DType::f32, Purpose::staging);
    const RngKey key{1, rng_site(name), 0, 0};
    for (int64_t i = 0; i < t.numel(); ++i)
      t.data<float>()[i] = static_cast<float>(scale * random_normal(key, i / 256, i % 256));
    return t;
  }
  Survival of(const Tensor& base, const Tensor& delta) {
    return survive(device_, base, delta, spec_, DType::f32, "w", merged_);
  }
  Device device_ = Device::cpu(2);
  QuantSpec spec_;
  Weight merged_;
};

TEST_F(Survive, TheSumsAreThoseOfDecodedCodes) {
  const Tensor base = noise(1, "w"), delta = noise(0.3, "d");
  const Survival s = of(base, delta);
  Tensor sum = noise(1, "w");
  for (int64_t i = 0; i < sum.numel(); ++i) sum.data<float>()[i] += delta.data<float>()[i];
  const Tensor a = dequantize(device_, quantize(device_, sum, spec_, "w"), DType::f32);
  const Tensor b = dequantize(device_, quantize(device_, base, spec_, "w"), DType::f32);
  double realised = 0, along = 0, asked = 0;
  for (int64_t i = 0; i < sum.numel(); ++i) {
    const double r = double{a.data<float>()[i]} - b.data<float>()[i], d = delta.data<float>()[i];
    realised += r * r;
    along += r * d;
    asked += d * d;
  }
  EXPECT_DOUBLE_EQ(s.share(), along / asked);
  EXPECT_DOUBLE_EQ(s.ratio(), std::sqrt(realised / asked));
  EXPECT_DOUBLE_EQ(s.cosine(), along / std::sqrt(realised * asked));
  EXPECT_EQ(testing::values(dequantize(device_, merged_, DType::f32)), testing::values(a));
}

TEST_F(Survive, OnCodesALightDeltaRoundsAwayAndOn16BitsItIsNoise) {
  spec_.double_quant = false;  // nested scales move with their mean
  const Tensor fresh = noise(1, "w"), light = noise(0.005, "d");
  const Tensor coded = dequantize(device_, quantize(device_, fresh, spec_, "w"), DType::f32);
  EXPECT_LT(of(coded, light).share(), 0.2);
  const Survival s = of(fresh, light);
  EXPECT_GT(s.share(), 0.5);
  EXPECT_LT(s.cosine(), 0.3);
  EXPECT_GT(s.ratio(), 2);
}

TEST_F(Survive, NoDeltaIsNoLoss) {
  const Tensor base = noise(1, "w");
  EXPECT_EQ(of(base, noise(0, "d")).share(), 1);
}

}  // namespace
}  // namespace nibble
