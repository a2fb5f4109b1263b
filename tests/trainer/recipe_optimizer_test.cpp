// The Optimizer section of a recipe: every key, its mistakes and its way back into YAML.
#include "tests/support/model_data.h"
#include "trainer/optimizer_keys.h"
#include "trainer/recipe.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;
using testing::write_text;

const std::string kAdapter = "base_model: b\ndatasets: [{path: d.jsonl}]\noutput_dir: o\n";
const std::string kFull = kAdapter + "adapter: full\n";

struct Read {
  Recipe recipe;
  Settings settings;
};

std::unique_ptr<Read> read(const std::string& yaml) {
  TemporaryFolder folder;
  write_text(folder / "r.yaml", yaml);
  auto read = std::make_unique<Read>();
  read->recipe.read(folder / "r.yaml", {}, read->settings);
  return read;
}

std::vector<UserError> mistakes(const std::string& yaml) {
  try {
    read(yaml);
  } catch (const UserErrors& e) {
    EXPECT_EQ(e.code(), Exit::usage);
    return e.all();
  } catch (const UserError& e) {
    return {e};
  }
  return {};
}

TEST(RecipeOptimizer, NamesMeanRuleWidthAndPaging) {
  for (const auto& [typed, name] :
       std::vector<std::pair<std::string, std::string>>{{"adamw_torch", "adamw"},
                                                        {"AdamW8bit", "adamw_8bit"},
                                                        {"torch.optim.AdamW", "adamw"},
                                                        {"adamw_bnb_8bit", "adamw_8bit"}}) {
    EXPECT_EQ(read(kAdapter + "optimizer: " + typed + "\n")->recipe.optimizer, name);
    EXPECT_EQ(read(kAdapter + "optim: " + typed + "\n")->recipe.optimizer, name);
  }
  const auto near = mistakes(kAdapter + "optimizer: adamw_8bt\n");
  ASSERT_EQ(near.size(), 1U);
  EXPECT_EQ(near[0].where().line, 4);
  EXPECT_NE(near[0].hint().find("'adamw_8bit'"), std::string::npos);
  const auto refused = mistakes(kAdapter + "optimizer: adafactor\n");
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_NE(refused[0].message().find("Adafactor is not supported"), std::string::npos);
}

TEST(RecipeOptimizer, ArgumentsAreAMapOrTransformersText) {
  for (const char* args : {"{beta1: 0.8, eps: 1e-7}", "\"beta1=0.8, eps=1e-7\""}) {
    const auto r = read(kAdapter + "optim_args: " + args + "\n");
    const RuleOptions numbers = r->recipe.optimizer_options().numbers;
    EXPECT_EQ(numbers.beta1, 0.8);
    EXPECT_EQ(numbers.eps, 1e-7);
    EXPECT_FALSE(numbers.beta2.has_value());
  }
  RuleOptions options;
  std::map<std::string, Where> places;
  Settings settings;
  YamlNode text;
  text.kind = YamlNode::Kind::scalar;
  text.scalar = "momentum=0.9,nesterov=True,dampening=0,t_alpha=1000,max_unorm=0.02";
  read_optim_args(text, settings, options, places);
  EXPECT_EQ(optim_args_text(options),
            "{momentum: 0.9, dampening: 0, t_alpha: 1000, max_unorm: 0.02, nesterov: true}");
}

TEST(RecipeOptimizer, WrongArgumentsAreNamedAtTheirPlace) {
  struct Case {
    const char *yaml, *part;
    int line;
  };
  for (const Case& c : {Case{"optim_args:\n  beta1: x\n", "beta1 must be a number", 5},
                        Case{"optim_args:\n  bta1: 0.9\n", "no argument", 5},
                        Case{"optim_args: {beta1: -1}\n", "at least 0", 4},
                        Case{"optim_args: \"beta1\"\n", "has no value", 4},
                        Case{"optim_args: [1]\n", "takes a map", 4},
                        Case{"optim_args: \"eps=1,eps=2\"\n", "twice", 4},
                        Case{"adam_beta1: 0.9\noptim_args: {beta1: 0.9}\n", "say the same", 5},
                        // What the rule itself has no use for.
                        Case{"optim_args:\n  eps: 1e-8\n  nesterov: true\n", "nesterov", 6},
                        Case{"adam_beta3: 0.99\n", "beta3", 4}}) {
    const auto all = mistakes(kAdapter + c.yaml);
    ASSERT_EQ(all.size(), 1U) << c.yaml;
    EXPECT_NE(all[0].message().find(c.part), std::string::npos) << all[0].what();
    EXPECT_EQ(all[0].where().line, c.line) << all[0].what();
  }
}

TEST(RecipeOptimizer, KeysWithoutAMeaningInTheRunAreErrors) {
  for (const std::string& yaml :
       {kAdapter + "optimizer: adamw\noptimizer_block_size: 128\n",
        kAdapter + "optimizer: adamw\nstate_codec: bnb\n",
        kAdapter + "optimizer: adamw\nmin_8bit_size: 1\n",
        kAdapter + "optimizer_state_budget: 1MiB\n",
        kAdapter + "optimizer: paged_adamw_8bit\noptimizer_state_budget: much\n",
        kAdapter + "optimizer_block_size: 100\n",
        kAdapter + "optimizer_block_size: 32\n",
        kAdapter + "state_codec: own\n",
        kAdapter + "percentile_clipping: 0\n",
        kAdapter + "percentile_clipping: 101\n",
        kAdapter + "max_grad_value: -1\n",
        kAdapter + "max_bad_steps: -1\n",
        kAdapter + "loraplus_lr_ratio: 0\n",
        kFull + "loraplus_lr_ratio: 16\n",
        kFull + "loraplus_lr_embedding: 1e-6\n",
        kAdapter + "master_dtype: bf16\n",
        kFull + "master_dtype: f16\n",
        kFull + "stochastic_rounding: true\n",
        kAdapter + "stochastic_rounding: false\n",
        kAdapter + "learning_rate: 0\nloraplus_lr_ratio: 2\n",
        kAdapter + "learning_rate: 0\noptimizer_overrides: [{match: x, lr: 1}]\n",
        kAdapter + "dtype: f32\nbf16: true\n",
        kAdapter + "dtype: bf16\nfp16: true\n",
        kAdapter + "fp16: true\nbf16: auto\n",
        kAdapter + "bf16: maybe\n"})
    EXPECT_EQ(mistakes(yaml).size(), 1U) << yaml;
}

TEST(RecipeOptimizer, OverridesAreReadWithTheirPlaces) {
  const auto r = read(kAdapter +
                      "optimizer_overrides:\n  - {match: embed, bits: 8, block_size: 64}\n"
                      "  - match: lora_B\n    lr: 1e-3\n    weight_decay: 0.1\n"
                      "    min_8bit_size: 10\n");
  const auto& all = r->recipe.optimizer_overrides;
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].bits, 8);
  EXPECT_EQ(all[0].block, 64);
  EXPECT_EQ(all[1].match, "lora_B");
  EXPECT_EQ(all[1].lr, 1e-3);
  EXPECT_EQ(all[1].weight_decay, 0.1);
  EXPECT_EQ(all[1].min_elements, 10);
  EXPECT_EQ(all[1].where.line, 6);
  for (const char* wrong :
       {"embed", "[embed]", "[{bits: 8}]", "[{match: a}]", "[{match: a, bits: 16}]",
        "[{match: a, block_size: 100}]", "[{match: a, min_8bit_size: -1}]", "[{match: a, lr: 11}]",
        "[{match: a, weight_decay: x}]", "[{match: a, bit: 8}]"})
    EXPECT_EQ(mistakes(kAdapter + "optimizer_overrides: " + wrong + "\n").size(), 1U) << wrong;
}

TEST(RecipeOptimizer, BytesHaveUnits) {
  EXPECT_EQ(bytes_of("0"), 0);
  EXPECT_EQ(bytes_of("1048576"), 1048576);
  EXPECT_EQ(bytes_of("512MiB"), int64_t{512} << 20);
  EXPECT_EQ(bytes_of("1.5 GiB"), int64_t{3} << 29);
  EXPECT_EQ(bytes_of("2GB"), 2000000000);
  for (const char* wrong : {"", "MiB", "-1", "1 XB", "1.2.3", "1e3", "999999999TiB"})
    EXPECT_FALSE(bytes_of(wrong).has_value()) << wrong;
}

TEST(RecipeOptimizer, TheTwoSwitchesOfTransformersChooseTheComputeType) {
  EXPECT_EQ(read(kAdapter)->recipe.compute(), DType::bf16);
  EXPECT_EQ(read(kAdapter + "bf16: auto\n")->recipe.compute(), DType::bf16);
  EXPECT_EQ(read(kAdapter + "bf16: false\n")->recipe.compute(), DType::f32);
  EXPECT_EQ(read(kAdapter + "bf16: auto\nfp16: false\n")->recipe.compute(), DType::bf16);
}

TEST(RecipeOptimizer, TheResolvedRecipeReadsBackTheSame) {
  for (const std::string& yaml :
       {kAdapter, kAdapter + "optimizer: adamw\nbf16: false\n",
        kAdapter + "optim_args: \"beta1=0.8\"\nadam_epsilon: 1e-6\nloraplus_lr_ratio: 16\n"
                   "optimizer_overrides: [{match: \"q_proj|\\\\.v_proj\", lr: 1e-3, bits: 32}]\n"
                   "percentile_clipping: 5\nmax_grad_value: 0.5\nmax_bad_steps: 0\n"
                   "state_codec: bnb\noptimizer_block_size: 1024\nmin_8bit_size: 0\n",
        kFull + "master_dtype: bfloat16\n",
        kFull + "master_dtype: bf16\nstochastic_rounding: false\n"}) {
    const auto first = read(yaml);
    const std::string text = first->recipe.resolved(first->settings);
    const auto second = read(text);
    EXPECT_EQ(second->recipe.resolved(second->settings), text) << yaml;
    EXPECT_EQ(second->recipe.compute(), first->recipe.compute()) << yaml;
    EXPECT_EQ(overrides_text(second->recipe.optimizer_overrides),
              overrides_text(first->recipe.optimizer_overrides));
    EXPECT_EQ(second->recipe.master_dtype, first->recipe.master_dtype);
  }
}

}  // namespace
}  // namespace nibble
