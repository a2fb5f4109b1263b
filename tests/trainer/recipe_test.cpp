#include "trainer/recipe.h"

#include "tests/support/model_data.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;
using testing::write_text;

std::vector<UserError> mistakes(const std::string& yaml,
                                const std::vector<std::pair<std::string, std::string>>& more = {}) {
  TemporaryFolder folder;
  write_text(folder / "r.yaml", yaml);
  Recipe recipe;
  Settings settings;
  try {
    recipe.read(folder / "r.yaml", more, settings);
  } catch (const UserErrors& e) {
    EXPECT_EQ(e.code(), Exit::usage);
    return e.all();
  } catch (const UserError& e) {
    return {e};
  }
  return {};
}

const std::string kGood =
    "base_model: b\nadapter: qlora\ndatasets: [{path: d.jsonl}]\noutput_dir: o\n";

TEST(Recipe, EveryMistakeIsFoundInOneRunWithItsPlace) {
  const auto all =
      mistakes(kGood + "learning_rat: 2e-4\nlora_r: 0\nwarmup_steps: 3\nwarmup_ratio: 0.1\n");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].where().line, 5);
  EXPECT_NE(all[0].hint().find("learning_rate"), std::string::npos);
  EXPECT_EQ(all[1].where().line, 6);
  EXPECT_NE(all[1].message().find("got 0"), std::string::npos);
  EXPECT_EQ(all[2].where().line, 8);
}

TEST(Recipe, ContradictionsAreNamed) {
  EXPECT_EQ(mistakes(kGood).size(), 0U);
  for (const char* more :
       {"load_in_4bit: false\n", "eval_steps: 5\n", "save_dtype: bf16\n",
        "bnb_4bit_quant_type: fp4\nquant: {type: nf4}\n", "load_in_8bit: true\n",
        "optimizer: adafactor\n", "quant: {block_size: 65}\n", "datasets: []\n", "tokens: [\"\"]\n",
        "special_tokens: {eos: x}\n", "special_tokens: [x]\n", "trainable_token_indices: [1, 1]\n",
        "trainable_token_indices: [-1]\n", "trainable_token_indices: {embed_tokens: x}\n",
        "lora_dropout: 1.5\n", "num_epochs: 0\n"})
    EXPECT_GE(mistakes(kGood + more).size(), 1U) << more;
}

TEST(Recipe, ChoosesAChatTemplateInOneOfTwoKeys) {
  const auto choice = [](const std::string& more) {
    TemporaryFolder folder;
    write_text(folder / "r.yaml", kGood + more);
    Recipe recipe;
    Settings settings;
    recipe.read(folder / "r.yaml", {}, settings);
    return recipe.template_choice();
  };
  EXPECT_EQ(choice(""), "");
  EXPECT_EQ(choice("chat_template: tokenizer_default\n"), "");
  EXPECT_EQ(choice("chat_template: chatml\n"), "chatml");
  EXPECT_EQ(choice("chat_template: jinja\nchat_template_jinja: own.jinja\n"), "own.jinja");
  EXPECT_EQ(choice("chat_template_jinja: |\n  {{ messages }}\n"), "{{ messages }}\n");
  EXPECT_EQ(mistakes(kGood + "chat_template: jinja\n").size(), 1U);
  EXPECT_EQ(mistakes(kGood + "chat_template: chatml\nchat_template_jinja: x\n").size(), 1U);
}

TEST(Recipe, OtherSpellingsMeanTheSame) {
  TemporaryFolder folder;
  write_text(
      folder / "r.yaml",
      "model_name_or_path: b\ndatasets: d.jsonl\noutput_dir: o\nlr: 1e-3\n"
      "per_device_train_batch_size: 4\nbnb_4bit_quant_type: fp4\n"
      "bnb_4bit_use_double_quant: false\nbnb_4bit_compute_dtype: float32\nlora_target: q_proj\n");
  Recipe recipe;
  Settings settings;
  recipe.read(folder / "r.yaml", {{"quant.block_size", "128"}}, settings);
  EXPECT_EQ(recipe.base_model, "b");
  EXPECT_EQ(recipe.learning_rate, 1e-3);
  EXPECT_EQ(recipe.micro_batch_size, 4);
  EXPECT_EQ(recipe.quant.format, Format::fp4);
  EXPECT_FALSE(recipe.quant.double_quant);
  EXPECT_EQ(recipe.quant.block, 128);
  EXPECT_EQ(recipe.compute(), DType::f32);
  EXPECT_EQ(recipe.adapter_config().target_modules, std::vector<std::string>{"q_proj"});
}

TEST(Recipe, TheResolvedRecipeReadsBackTheSame) {
  const std::string start = "base_model: b\ndatasets: [{path: d.jsonl}]\noutput_dir: o\n";
  for (const char* more : {"adapter: qlora\nlora_r: 3\nwarmup_steps: 4\n",
                           "adapter: lora\nwarmup_ratio: 0.1\nlora_target_modules: [q_proj]\n",
                           "adapter: full\nsave_dtype: bf16\nmax_steps: 9\n",
                           "adapter: lora\nlora_model_dir: there\nlora_alpha: 12\n",
                           "tokens: [\"[A]\", \"a, b\", \"{\", \"#x\", \" y\", \"<|z|>\"]\n"
                           "special_tokens: {pad_token: \"<pad>\", "
                           "additional_special_tokens: [\"[B]\", \"true\"]}\n"
                           "trainable_token_indices: {embed_tokens: [3, 1], lm_head: [2]}\n"}) {
    TemporaryFolder folder;
    write_text(folder / "r.yaml", start + more + "learning_rate: 2e-4\n");
    Recipe first, second;
    Settings a, b;
    first.read(folder / "r.yaml", {}, a);
    write_text(folder / "resolved.yaml", first.resolved(a));
    second.read(folder / "resolved.yaml", {}, b);
    EXPECT_EQ(second.resolved(b), first.resolved(a)) << more;
    EXPECT_EQ(second.learning_rate, 2e-4);
    EXPECT_EQ(second.lora_r, first.lora_r);
    EXPECT_EQ(second.save_dtype, first.save_dtype);
    EXPECT_EQ(second.tokens, first.tokens);
    EXPECT_EQ(second.special_tokens.roles, first.special_tokens.roles);
    EXPECT_EQ(second.special_tokens.additional, first.special_tokens.additional);
  }
}

}  // namespace
}  // namespace nibble
