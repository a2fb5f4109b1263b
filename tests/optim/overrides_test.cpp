// Which parameter gets which settings.
#include "optim/overrides.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

class Overrides : public ::testing::Test {
 protected:
  Parameter* add(const std::string& name, bool decays = true) {
    made_.push_back(std::make_unique<Parameter>());
    made_.back()->name = name;
    made_.back()->decays = decays;
    all_.push_back(made_.back().get());
    return all_.back();
  }
  std::vector<ParameterSettings> settings(const SettingsPlan& plan) const {
    std::vector<ParameterSettings> out;
    for (const TrainedParameter& t : resolve(plan, all_, [](const Parameter& p) {
           return p.name.find("embed") != std::string::npos;
         }))
      out.push_back(t.settings);
    return out;
  }
  static PlacedOverride named(const std::string& match) {
    PlacedOverride o;
    o.match = match;
    o.where = Where{"r.yaml", 7, 3, "", 1};
    return o;
  }
  static SettingsPlan eight_bits() {
    SettingsPlan plan;
    plan.state.bits = 8;
    plan.learning_rate = 1e-3;
    plan.weight_decay = 0.1;
    return plan;
  }

  const Device device_ = Device::cpu(1);  // outlives the parameters' buffers
  std::vector<std::unique_ptr<Parameter>> made_;
  std::vector<Parameter*> all_;
};

TEST_F(Overrides, TheFirstMatchDecidesEachField) {
  add("model.layers.0.mlp.down_proj.weight");
  add("model.layers.1.mlp.down_proj.weight");
  SettingsPlan plan = eight_bits();
  PlacedOverride one = named("layers\\.1\\."), two = named("down_proj");
  one.lr = 2e-3;
  two.lr = 3e-3, two.bits = 32, two.weight_decay = 0.5, two.block = 64, two.min_elements = 1;
  plan.overrides = {one, two};
  const auto s = settings(plan);
  EXPECT_DOUBLE_EQ(s[0].lr_factor, 3);
  EXPECT_DOUBLE_EQ(s[1].lr_factor, 2);
  for (const ParameterSettings& each : s) {
    EXPECT_EQ(each.state.bits, 32);
    EXPECT_EQ(each.state.block, 64);
    EXPECT_EQ(each.state.min_elements, 1);
    EXPECT_EQ(each.weight_decay, 0.5);
  }
}

TEST_F(Overrides, EmbeddingsKeep32BitsUnlessToldOtherwise) {
  add("model.embed_tokens.weight");
  add("lm_head.weight");
  SettingsPlan plan = eight_bits();
  EXPECT_EQ(settings(plan)[0].state.bits, 32);
  EXPECT_EQ(settings(plan)[1].state.bits, 8);
  plan.overrides = {named("embed_tokens")};
  plan.overrides[0].bits = 8;
  EXPECT_EQ(settings(plan)[0].state.bits, 8);
}

TEST_F(Overrides, DecayIsForMatricesAndForWhatAnOverrideNames) {
  add("a.weight"), add("a.bias", false), add("norm.weight", false);
  SettingsPlan plan = eight_bits();
  plan.overrides = {named("norm")};
  plan.overrides[0].weight_decay = 0.3;
  const auto s = settings(plan);
  EXPECT_EQ(s[0].weight_decay, 0.1);
  EXPECT_EQ(s[1].weight_decay, 0);
  EXPECT_EQ(s[2].weight_decay, 0.3);
}

TEST_F(Overrides, LoraPlusScalesTheRateOfBAlone) {
  add("q_proj.lora_A.weight"), add("q_proj.lora_B.weight"), add("embed_tokens.weight");
  SettingsPlan plan = eight_bits();
  plan.loraplus_ratio = 16;
  auto s = settings(plan);
  EXPECT_EQ(s[0].lr_factor, 1);
  EXPECT_EQ(s[1].lr_factor, 16);
  EXPECT_EQ(s[2].lr_factor, 1);
  plan.embedding_rate = 1e-6;
  plan.overrides = {named("lora_B")};
  plan.overrides[0].lr = 5e-3;
  s = settings(plan);
  EXPECT_DOUBLE_EQ(s[1].lr_factor, 5);
  EXPECT_DOUBLE_EQ(s[2].lr_factor, 1e-3);
}

TEST_F(Overrides, AMatchOfNothingIsAnErrorAtItsPlaceWithTheNearName) {
  add("model.layers.0.self_attn.q_proj.lora_A.weight");
  SettingsPlan plan = eight_bits();
  plan.overrides = {named("self_atn\\."), named("q_proj"), named("xyz")};
  try {
    settings(plan);
    ADD_FAILURE();
  } catch (const UserErrors& e) {
    ASSERT_EQ(e.all().size(), 2U);
    EXPECT_EQ(e.all()[0].where().str(), "r.yaml:7:3");
    EXPECT_NE(e.all()[0].message().find("self_atn"), std::string::npos);
    EXPECT_NE(e.all()[0].hint().find("'self_attn'"), std::string::npos);
    EXPECT_NE(e.all()[1].hint().find("q_proj.lora_A"), std::string::npos);
  }
  plan.overrides = {named("(")};
  EXPECT_THROW(settings(plan), UserErrors);
}

// GlobalOptimManager's figures: which states are codes, and a parameter with a rate of its own.
TEST_F(Overrides, DoWhatGlobalOptimManagerDoes) {
  NIBBLE_REQUIRE_DATA(path, "golden/quantization/optim/global_manager.json");
  const Json golden = read_json(path);
  const Ctx ctx(device_, DType::f32);
  const int64_t sizes[] = {4096, 4095, 8192, 100};
  for (int i = 0; i < 4; ++i) add(cat("P", i));
  const auto steps = [&](const SettingsPlan& plan) {
    for (size_t i = 0; i < all_.size(); ++i) {
      Parameter& p = *all_[i];
      p.value = ctx.empty({sizes[i]}, DType::f32, Purpose::weights);
      p.grad = ctx.empty({sizes[i]}, DType::f32, Purpose::gradient);
      std::fill_n(p.value.data<float>(), sizes[i], 1.0F);
      std::fill_n(p.grad.data<float>(), sizes[i], 0.01F);
    }
    auto optimizer =
        Optimizer::make(ctx, {}, resolve(plan, all_, [](const Parameter&) { return false; }));
    optimizer->step(ctx, plan.learning_rate, 1, 1);
    Json dtypes = Json::array();
    for (int i = 0; i < 4; ++i) {
      bool coded = false;
      for (const auto& [name, tensor] : optimizer->state())
        coded = coded || name == cat("P", i, ".exp_avg.absmax");
      dtypes.push_back(coded ? "uint8" : "float32");
    }
    return dtypes.dump();
  };
  SettingsPlan plan;
  plan.state.bits = 8;
  plan.learning_rate = 1e-3;
  EXPECT_EQ(steps(plan), golden["no override, Adam8bit, sizes 4096 4095 8192 100"].dump());
  plan.state.min_elements = 64;
  EXPECT_EQ(steps(plan), golden["min_8bit_size=64"].dump());
  plan.state.min_elements = 4096;
  plan.overrides = {named("P2")};
  plan.overrides[0].bits = 32;
  EXPECT_EQ(steps(plan), golden["override_config(P[2], optim_bits, 32)"].dump());
  plan.overrides = {named("P0|P2")};
  plan.overrides[0].bits = 32;
  EXPECT_EQ(steps(plan), golden["override without register_parameters, P[0] and P[2]"].dump());
  plan.overrides = {named("P3")};
  plan.overrides[0].bits = 8;
  plan.overrides[0].min_elements = 10;
  plan.state.bits = 32;
  EXPECT_EQ(steps(plan), golden["Adam 32-bit base, P[3] optim_bits 8 min_8bit_size 10"].dump());
  plan.overrides = {named("P0")};
  plan.overrides[0].lr = 0.1;
  plan.state.bits = 8;
  steps(plan);
  const Json& change =
      golden["lr override 0.1 on P[0], base lr 1e-3: parameter change of element 0"];
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(1 - static_cast<double>(*all_[i]->value.data<float>()), change[i].get<double>(),
                2e-7)
        << i;
}

}  // namespace
}  // namespace nibble
