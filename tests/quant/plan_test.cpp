// Which rule of a plan speaks of which module.
#include "quant/plan.h"

#include <gtest/gtest.h>

#include "quant/plan_settings.h"

namespace nibble {
namespace {

QuantPlan plan_of(const std::string& rules) {
  QuantPlan plan;
  plan.modules = parse_quant_rules(rules, "--quant-modules");
  return plan;
}

std::string type_of(const QuantPlan& plan, const std::string& path, Part part = Part::linear) {
  const auto spec = plan.spec_for(path, part);
  return spec ? name_of(spec->format) : "none";
}

TEST(QuantPlan, TheFirstRuleThatMatchesWins) {
  QuantPlan plan = plan_of(
      "[{match: model.layers.0.*, type: none}, {match: 'model.layers.*.mlp.down_proj', type: int8},"
      " {match: mlp.down_proj, type: bf16}, {match: embed_tokens, type: fp4, block_size: 128, "
      "double_quant: false}]");
  plan.linears = QuantSpec{};
  EXPECT_EQ(type_of(plan, "model.layers.0.mlp.down_proj"), "none");
  EXPECT_EQ(type_of(plan, "model.layers.11.mlp.down_proj"), "int8");
  EXPECT_EQ(type_of(plan, "other.mlp.down_proj"), "bf16");
  EXPECT_EQ(type_of(plan, "model.layers.1.mlp.up_proj"), "nf4");
  EXPECT_EQ(type_of(plan, "model.layers.1.xmlp.down_proj"), "nf4");
  EXPECT_EQ(type_of(plan, "lm_head", Part::head), "none");
  const auto table = plan.spec_for("model.embed_tokens", Part::embedding);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->block, 128);
  EXPECT_FALSE(table->double_quant);
}

TEST(QuantPlan, AStarIsAnyRunOfCharacters) {
  const QuantRule rule{"*layers.*.mlp.*_proj", {}, {}};
  EXPECT_TRUE(rule.matches("model.layers.3.mlp.gate_proj"));
  EXPECT_TRUE(rule.matches("layers..mlp._proj"));
  EXPECT_FALSE(rule.matches("model.layers.3.mlp.gate_proj.extra"));
  EXPECT_FALSE(rule.matches("model.layers.3.attn.gate_proj"));
}

// The third column is should_convert_module of transformers 5.23, asked.
TEST(QuantPlan, SkipsWhatTransformersSkips) {
  const struct {
    const char* key;
    const char* path;
    bool skipped;
  } kCases[] = {{"layer.1", "layer.1.attn", true},
                {"layer.1", "layer.11.attn", false},
                {"layer.*", "layer.11.attn", true},
                {"mlp.gate", "mlp.gate_proj", false},
                {"fc1", "model.decoder.layers.23.fc1", true},
                {"lm_head", "lm_head", true},
                {"model.layers.(0|1)", "model.layers.1.mlp.up_proj", true},
                {"model.layers.(0|1)", "model.layers.10.mlp.up_proj", false},
                {"o_proj", "model.layers.0.self_attn.o_proj", true},
                {"self_attn", "model.layers.0.self_attn.o_proj", false}};
  for (const auto& c : kCases) {
    QuantPlan plan(QuantSpec{});
    plan.skip = {c.key};
    EXPECT_EQ(plan.skips(c.path), c.skipped) << c.key << " " << c.path;
    EXPECT_EQ(type_of(plan, c.path), c.skipped ? "none" : "nf4");
  }
}

TEST(QuantPlan, AGivenSkipListThatDoesNotNameTheHeadQuantizesIt) {
  QuantPlan plan(QuantSpec{});
  EXPECT_EQ(type_of(plan, "lm_head", Part::head), "none");
  plan.skip = {"o_proj"};
  EXPECT_EQ(type_of(plan, "lm_head", Part::head), "nf4");
  EXPECT_EQ(type_of(plan, "model.embed_tokens", Part::embedding), "none");
}

TEST(QuantPlan, APatternThatMatchesNothingIsAnErrorThatNamesTheNearest) {
  const QuantPlan plan = plan_of("[{match: 'model.layers.*.mlp.down_prj', type: int8}]");
  try {
    plan.check_matches({"model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj", "lm_head"});
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("down_prj"), std::string::npos);
    EXPECT_NE(e.hint().find("did you mean 'model.layers.*.mlp.down_proj'"), std::string::npos);
    EXPECT_EQ(e.where().file, "--quant-modules");
  }
}

TEST(QuantPlan, MistakesInRulesAreNamedTogether) {
  try {
    parse_quant_rules(
        "[{match: a, type: nf5}, {type: nf4}, {match: b}, {match: c, type: nf4, block_size: 48}, "
        "{match: d, type: nf4, threshold: 6}, {match: e, type: int8, treshold: 6}, x]",
        "flag");
    ADD_FAILURE();
  } catch (const UserErrors& e) {
    ASSERT_EQ(e.all().size(), 7U);
    EXPECT_NE(e.all()[0].hint().find("nf4"), std::string::npos);
    EXPECT_NE(e.all()[5].hint().find("threshold"), std::string::npos);
  }
}

}  // namespace
}  // namespace nibble
