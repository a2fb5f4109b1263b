// What a step may change, and that a bad one changes nothing.
#include "trainer/update.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class UpdateTest : public ::testing::Test {
 protected:
  UpdateTest() {
    for (const int64_t n : {9000, 100}) {
      auto p = std::make_unique<Parameter>();
      p->name = cat("p", n);
      p->value = ctx_.empty({n}, DType::f32, Purpose::weights);
      p->grad = ctx_.empty({n}, DType::f32, Purpose::gradient);
      all_.push_back(p.get());
      made_.push_back(std::move(p));
    }
    start();
  }
  void start() {
    for (size_t k = 0; k < 2; ++k)
      for (int64_t i = 0; i < all_[k]->value.numel(); ++i)
        all_[k]->value.data<float>()[i] =
            static_cast<float>(random_normal(RngKey{1, k}, static_cast<uint64_t>(i)));
  }
  std::unique_ptr<Update> make(const UpdateOptions& options = {}, int bits = 8) {
    ParameterSettings settings;
    settings.state.bits = bits;
    settings.weight_decay = 0.1;
    return std::make_unique<Update>(
        options, Optimizer::make(ctx_, {}, {{all_[0], settings}, {all_[1], settings}}), all_);
  }
  // Gradients of a step, × scale.
  void gradients(uint64_t step, double scale = 1) {
    for (size_t k = 0; k < 2; ++k)
      for (int64_t i = 0; i < all_[k]->grad.numel(); ++i)
        all_[k]->grad.data<float>()[i] = static_cast<float>(
            scale * random_normal(RngKey{step, k + 2}, static_cast<uint64_t>(i)));
  }
  // Every byte that training is made of.
  std::string bytes(const Update& update) const {
    std::string out;
    for (const Parameter* p : all_)
      out.append(p->value.data<char>(), static_cast<size_t>(p->value.bytes()));
    for (const auto& [name, tensor] : update.optimizer().state())
      out.append(static_cast<const char*>(tensor.raw()), static_cast<size_t>(tensor.bytes()));
    return out;
  }

  Device device_ = Device::cpu(1);
  Ctx ctx_{device_, DType::f32};
  std::vector<std::unique_ptr<Parameter>> made_;
  std::vector<Parameter*> all_;
};

TEST_F(UpdateTest, ABadStepLeavesEveryByteAndTheNextOneIsAsIfItHadNotBeen) {
  for (const int bits : {32, 8}) {
    start();
    auto clean = make({}, bits);
    for (uint64_t step = 1; step < 4; ++step) {
      gradients(step);
      EXPECT_EQ(clean->apply(ctx_, 1, 1e-2, 1).outcome, Outcome::updated);
    }
    const std::string want = bytes(*clean);
    start();
    auto update = make({}, bits);
    int64_t bad = 0;
    for (uint64_t step = 1; step < 4; ++step) {
      for (const double poison : {kNaN, kInfinity, -kInfinity}) {
        gradients(step + 50);
        all_[step % 2]->grad.data<float>()[step * 30] = static_cast<float>(poison);
        const std::string before = bytes(*update);
        EXPECT_EQ(update->apply(ctx_, 1, 1e-2, 1).outcome, Outcome::bad);
        EXPECT_EQ(bytes(*update), before);
        EXPECT_EQ(update->skipped(), ++bad);
      }
      gradients(step);
      EXPECT_EQ(update->apply(ctx_, kNaN, 1e-2, 1).outcome, Outcome::bad);  // the loss alone
      ++bad;
      EXPECT_EQ(update->bad_in_a_row(), 4);
      EXPECT_EQ(update->apply(ctx_, 1, 1e-2, 1).outcome, Outcome::updated);
      EXPECT_EQ(update->bad_in_a_row(), 0);
    }
    EXPECT_EQ(update->updates(), 3);
    EXPECT_EQ(bytes(*update), want);
  }
}

TEST_F(UpdateTest, AnOverflowUnderALossScaleHalvesItAndIsNotBad) {
  UpdateOptions options;
  options.scales_loss = true;
  auto update = make(options);
  double scale = 65536;
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(update->loss_scale(), scale);
    gradients(1, scale);
    all_[0]->grad.data<float>()[5] = INFINITY;
    const std::string before = bytes(*update);
    EXPECT_EQ(update->apply(ctx_, 1, 1e-2, 1).outcome, Outcome::overflow);
    EXPECT_EQ(bytes(*update), before);
    scale /= 2;
  }
  EXPECT_EQ(update->bad_in_a_row(), 0);
  EXPECT_EQ(update->loss_scale(), 1);
  EXPECT_EQ(update->apply(ctx_, 1, 1e-2, 1).outcome, Outcome::bad);  // no scale is left to blame
  EXPECT_EQ(update->bad_in_a_row(), 1);
  EXPECT_EQ(update->skipped(), 17);
}

TEST_F(UpdateTest, TheLossScaleIsDividedOutOfNormsAndGradients) {
  auto plain = make({}, 32);
  gradients(1);
  const double norm = plain->apply(ctx_, 1, 1e-2, 0.125).grad_norm;
  const std::string want = bytes(*plain);
  start();
  UpdateOptions options;
  options.scales_loss = true;
  auto scaled = make(options, 32);
  gradients(1, scaled->loss_scale());  // a power of two: exact
  EXPECT_EQ(scaled->apply(ctx_, 1, 1e-2, 0.125).grad_norm, norm);
  EXPECT_EQ(bytes(*scaled), want);
}

TEST_F(UpdateTest, ClipsByValueInUnitsOfTheMeanGradient) {
  UpdateOptions options;
  options.max_grad_norm = 0;
  options.max_grad_value = 0.5;
  auto update = make(options);
  gradients(1);
  const std::vector<float> before(all_[1]->grad.data<float>(), all_[1]->grad.data<float>() + 100);
  update->apply(ctx_, 1, 1e-2, 0.25);  // the step's gradient is a quarter of the sum
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_EQ(all_[1]->grad.data<float>()[i], std::min(2.0F, std::max(-2.0F, before[i])));
}

TEST_F(UpdateTest, PercentileClippingScalesALargeStepDown) {
  UpdateOptions options;
  options.max_grad_norm = 0;
  options.percentile = 50;
  auto update = make(options, 32);
  for (uint64_t step = 1; step < 6; ++step) {
    gradients(step);
    update->apply(ctx_, 1, 0, 1);  // rate 0: states only
  }
  gradients(6, 1000);
  const double norm = update->apply(ctx_, 1, 0, 1).grad_norm;
  EXPECT_GT(norm, 9e4);
  // The second moments tell what the optimizer was given: about a norm of the others.
  double clipped = 0;
  for (const auto& [name, tensor] : update->optimizer().state())
    if (name == "p9000.exp_avg_sq")
      for (int64_t i = 0; i < tensor.numel(); ++i) clipped += tensor.data<float>()[i];
  EXPECT_LT(clipped, 0.001 * 9000 * 7);
}

TEST_F(UpdateTest, AStateReadBackGoesOnWithTheSameBits) {
  UpdateOptions options;
  options.scales_loss = true;
  options.percentile = 20;
  auto whole = make(options);
  const auto step = [&](Update& update, uint64_t s) {
    gradients(s, update.loss_scale() * std::exp(static_cast<double>(s % 5)));
    if (s % 4 == 1) all_[0]->grad.data<float>()[s] = NAN;
    update.apply(ctx_, 1, 1e-2, 1);
  };
  for (uint64_t s = 0; s < 30; ++s) step(*whole, s);
  const std::string want = bytes(*whole);
  start();
  auto part = make(options);
  for (uint64_t s = 0; s < 30; ++s) {
    step(*part, s);
    auto next = make(options);
    next->optimizer().load(part->optimizer().state());
    next->load(parse_json(dump_json(part->state()), "state"), "state");
    part = std::move(next);
  }
  EXPECT_EQ(bytes(*part), want);
  EXPECT_EQ(part->skipped(), whole->skipped());
  EXPECT_EQ(part->loss_scale(), whole->loss_scale());
  try {
    part->load(Json::object(), "there");
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), Exit::bad_data);
  }
}

}  // namespace
}  // namespace nibble
