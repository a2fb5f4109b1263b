// The spellings of quantization that people have in their files.
#include "trainer/recipe_quant.h"

#include "tests/support/model_data.h"
#include "trainer/recipe.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;
using testing::write_text;

const std::string kStart = "base_model: b\ndatasets: d.jsonl\noutput_dir: o\n";

Recipe read(const std::string& more) {
  TemporaryFolder folder;
  write_text(folder / "r.yaml", kStart + more);
  Recipe recipe;
  Settings settings;
  recipe.read(folder / "r.yaml", {}, settings);
  return recipe;
}

std::vector<UserError> mistakes(const std::string& more) {
  try {
    read(more);
  } catch (const UserErrors& e) {
    return e.all();
  } catch (const UserError& e) {
    return {e};
  }
  return {};
}

TEST(RecipeQuant, FlatAndInAMapTheSpellingsMeanTheSame) {
  const std::string flat =
      "adapter: qlora\nload_in_4bit: true\nbnb_4bit_quant_type: fp4\n"
      "bnb_4bit_use_double_quant: false\nbnb_4bit_compute_dtype: float32\n"
      "bnb_4bit_quant_storage: bfloat16\nllm_int8_skip_modules: [o_proj, lm_head]\n";
  const std::string map =
      "adapter: qlora\nquantization_config:\n  quant_method: bitsandbytes\n"
      "  load_in_4bit: true\n  load_in_8bit: false\n  bnb_4bit_quant_type: fp4\n"
      "  bnb_4bit_use_double_quant: false\n  bnb_4bit_compute_dtype: float32\n"
      "  bnb_4bit_quant_storage: bfloat16\n  llm_int8_skip_modules: [o_proj, lm_head]\n"
      "  llm_int8_has_fp16_weight: false\n  llm_int8_enable_fp32_cpu_offload: false\n";
  std::string kwargs = map;
  kwargs.replace(kwargs.find("quantization_config"), 19, "bnb_config_kwargs");
  for (const std::string& text : {flat, map, kwargs}) {
    const Recipe r = read(text);
    const QuantPlan plan = r.quant_plan();
    ASSERT_TRUE(plan.linears) << text;
    EXPECT_EQ(plan.linears->format, Format::fp4);
    EXPECT_FALSE(plan.linears->double_quant);
    EXPECT_EQ(r.compute(), DType::f32);
    EXPECT_EQ(r.quant_storage, "bfloat16");
    EXPECT_EQ(plan.skip, (std::vector<std::string>{"o_proj", "lm_head"}));
  }
}

TEST(RecipeQuant, LoadIn8bitIsLoraOnInt8) {
  const QuantPlan plan = read("adapter: lora\nload_in_8bit: true\n").quant_plan();
  ASSERT_TRUE(plan.linears);
  EXPECT_EQ(plan.linears->format, Format::int8);
  EXPECT_EQ(plan.linears->outlier_threshold, 6.0);
  EXPECT_FALSE(plan.threshold);
  const QuantPlan other =
      read("adapter: lora\nload_in_8bit: true\nllm_int8_threshold: 4.5\n").quant_plan();
  EXPECT_EQ(other.linears->outlier_threshold, 4.5);
  EXPECT_EQ(other.threshold, 4.5);
  EXPECT_FALSE(read("adapter: lora\n").quant_plan());
  EXPECT_EQ(read("quant: {type: int8}\n").quant_plan().linears->format, Format::int8);
}

TEST(RecipeQuant, ModulesHaveFormatsOfTheirOwn) {
  const QuantPlan plan =
      read(
          "quant:\n  type: nf4\n  threshold: 5\n  modules:\n"
          "    - {match: 'model.layers.*.mlp.down_proj', type: int8}\n"
          "    - {match: q_proj, type: int8, threshold: 0}\n"
          "    - {match: lm_head, type: none}\n"
          "    - {match: embed_tokens, type: fp4, block_size: 128, double_quant: false}\n")
          .quant_plan();
  ASSERT_EQ(plan.modules.size(), 4U);
  EXPECT_EQ(plan.modules[0].spec->outlier_threshold, 5.0);
  EXPECT_EQ(plan.modules[1].spec->outlier_threshold, 0.0);
  EXPECT_FALSE(plan.modules[2].spec);
  EXPECT_EQ(plan.modules[3].spec->block, 128);
  EXPECT_EQ(plan.modules[0].where.line, 8);
}

TEST(RecipeQuant, ContradictionsAreNamedWithTheirPlaces) {
  for (const auto& [more, line] : std::vector<std::pair<std::string, int>>{
           {"load_in_4bit: true\nload_in_8bit: true\n", 5},
           {"adapter: full\nload_in_4bit: true\n", 5},
           {"adapter: full\nload_in_8bit: true\n", 5},
           {"adapter: qlora\nload_in_8bit: true\n", 5},
           {"adapter: lora\nload_in_4bit: true\n", 5},
           {"adapter: lora\nquant: {type: int8}\n", 5},
           {"adapter: full\nquant: {modules: [{match: lm_head, type: int8}]}\n", 5},
           {"llm_int8_has_fp16_weight: true\n", 4},
           {"quantization_config: {load_in_4bit: true, zero: 1}\n", 4},
           {"quantization_config: {quant_method: gptq}\n", 4},
           {"quant: {modules: [{match: a, type: nf5}]}\n", 4}}) {
    const auto all = mistakes(more);
    ASSERT_GE(all.size(), 1U) << more;
    EXPECT_EQ(all[0].where().line, line) << more << all[0].what();
  }
}

TEST(RecipeQuant, TheResolvedRecipeReadsBackTheSame) {
  for (const char* more :
       {"adapter: lora\nload_in_8bit: true\nllm_int8_threshold: 3\n",
        "adapter: qlora\nllm_int8_skip_modules: [a, b.c]\nquant: {modules: [{match: '*.x', type: "
        "int8, threshold: 2}, {match: y, type: fp4, block_size: 32}, {match: z, type: none}]}\n"}) {
    TemporaryFolder folder;
    write_text(folder / "r.yaml", kStart + more);
    Recipe first, second;
    Settings a, b;
    first.read(folder / "r.yaml", {}, a);
    write_text(folder / "again.yaml", first.resolved(a));
    second.read(folder / "again.yaml", {}, b);
    EXPECT_EQ(second.resolved(b), first.resolved(a));
    EXPECT_EQ(second.quant_plan().linears, first.quant_plan().linears);
    EXPECT_EQ(second.quant_plan().skip, first.quant_plan().skip);
    EXPECT_EQ(second.quant_modules.size(), first.quant_modules.size());
  }
}

TEST(RecipeQuant, ARecipeOfOnlyQuantizationIsEnoughForOtherCommands) {
  TemporaryFolder folder;
  write_text(folder / "q.yaml", "quant: {type: fp4, storage: float32}\n");
  const QuantRecipe recipe = read_quant_recipe(folder / "q.yaml");
  EXPECT_EQ(recipe.plan.linears->format, Format::fp4);
  EXPECT_EQ(recipe.storage, "float32");
  write_text(folder / "bad.yaml", "quant: {typ: fp4}\n");
  EXPECT_THROW(read_quant_recipe(folder / "bad.yaml"), UserErrors);
}

}  // namespace
}  // namespace nibble
