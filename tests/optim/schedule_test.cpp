// Rates against transformers.get_scheduler and against the formulas by hand.
#include "optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/json.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

TEST(Schedule, MatchesTransformersStepByStep) {
  NIBBLE_REQUIRE_DATA(path, "golden/models/schedules/schedules.json");
  int checked = 0;
  const Json file = read_json(path);
  for (const Json& c : file["cases"]) {
    const std::string name = c["name"];
    const std::vector<std::string> names = Schedule::names();
    if (std::find(names.begin(), names.end(), name) == names.end() || !c["kwargs"].empty())
      continue;
    const double peak = c["learning_rate"];
    const Schedule schedule(name, peak, c["num_warmup_steps"], c["num_training_steps"]);
    for (size_t s = 0; s < c["lr"].size(); ++s) {
      EXPECT_NEAR(schedule.rate(static_cast<int64_t>(s)), c["lr"][s].get<double>(), 1e-12 * peak)
          << name << " step " << s;
    }
    ++checked;
  }
  EXPECT_GE(checked, 5);
}

TEST(Schedule, WarmsUpFromZeroThenFollowsItsCurve) {
  const Schedule constant("constant", 2, 4, 10), linear("linear", 2, 4, 10),
      cosine("cosine", 2, 4, 10);
  for (const Schedule* s : {&constant, &linear, &cosine}) {
    EXPECT_EQ(s->rate(0), 0);
    EXPECT_EQ(s->rate(3), 1.5);
    EXPECT_EQ(s->rate(4), 2);
  }
  EXPECT_EQ(constant.rate(100), 2);
  EXPECT_EQ(linear.rate(7), 1);
  EXPECT_EQ(linear.rate(100), 0);
  EXPECT_NEAR(cosine.rate(7), 1, 1e-15);
  EXPECT_NEAR(cosine.rate(6), 1 + std::cos(std::acos(-1.0) / 3), 1e-15);
  EXPECT_NEAR(cosine.rate(10), 0, 1e-15);
}

TEST(Schedule, NamesTheNearestScheduleWhenItDoesNotKnowOne) {
  try {
    Schedule("cosin", 1, 0, 1);
    FAIL();
  } catch (const UserError& e) {
    EXPECT_NE(e.hint().find("cosine"), std::string::npos);
    EXPECT_EQ(e.code(), Exit::usage);
  }
}

}  // namespace
}  // namespace nibble
