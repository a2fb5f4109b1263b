// Dynamic loss scaling against torch's GradScaler.
#include "optim/loss_scale.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/json.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

TEST(LossScale, FollowsGradScalerThroughGoodAndOverflownSteps) {
  LossScale scale;
  const Json golden = read_json(testing::golden_path("optim/grad_scaler.json"));
  for (const Json& row : golden["rows"]) {
    for (int64_t i = 0; i < row[0].get<int64_t>(); ++i)
      row[1].get<int>() != 0 ? scale.overflow() : scale.good_step();
    EXPECT_EQ(scale.value(), row[2].get<double>()) << row;
    EXPECT_EQ(scale.state().good_steps, row[3].get<int64_t>()) << row;
    scale = LossScale(scale.state());  // saved and read back, it goes on alike
  }
}

TEST(LossScale, NeverFallsBelowOne) {
  LossScale scale;
  for (int i = 0; i < 16; ++i) {
    EXPECT_FALSE(scale.at_least());
    scale.overflow();
  }
  EXPECT_EQ(scale.value(), 1);
  EXPECT_TRUE(scale.at_least());
  scale.overflow();
  EXPECT_EQ(scale.value(), 1);
}

TEST(LossScale, TakesNoStateThatItCannotHaveBeenIn) {
  EXPECT_THROW(LossScale({3, 0}), Bug);
  EXPECT_THROW(LossScale({0.5, 0}), Bug);
  EXPECT_THROW(LossScale({1024, LossScale::kGrowthSteps}), Bug);
}

}  // namespace
}  // namespace nibble
