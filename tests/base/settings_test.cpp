// One row gives the key, the flag, the variable, the range and the message.
#include "base/settings.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/text.h"

namespace nibble {
namespace {

struct Recipe {
  std::string base_model, type = "nf4", optimizer = "adamw_8bit";
  int r = 16;
  int64_t block = 64;
  float rate = 2e-4f;
  double decay = 0.01;
  bool packing = false;
  std::optional<int64_t> steps;
  std::optional<double> ratio;
  std::optional<std::string> text;
  std::vector<std::string> modules = {"q_proj"};
  std::vector<std::string> paths;
  Settings s;

  Recipe() {
    s.heading("Model");
    s.field("base_model", base_model, "directory of the model").placeholder("DIR");
    s.field("quant.type", type, "4-bit format")
        .choices({"nf4", "fp4"})
        .alias("bnb_4bit_quant_type");
    s.field("quant.block_size", block, "weights of a scale").range(between(32, 4096));
    s.heading("Training");
    s.field("lora_r", r, "rank of the update").range(at_least(1)).alias("r");
    s.field("learning_rate", rate, "peak rate after warm-up").range(above(0)).alias("lr");
    s.field("weight_decay", decay, "decay").range({0, 1, false, true});
    s.field("sample_packing", packing, "several documents in a row");
    s.field("max_steps", steps, "optimizer steps").range(at_least(1));
    s.field("warmup_ratio", ratio, "share of the steps");
    s.field("note", text, "a word about the run");
    s.field("lora_target_modules", modules, "linears that get an adapter");
    s.field("optimizer", optimizer, "optimizer")
        .choices({"adamw", "adamw_8bit"})
        .not_yet({"lion"}, "it comes with the optimizers");
    s.custom(
        "datasets", "what to train on",
        [this](const YamlNode& node, Settings& settings) {
          paths.clear();
          for (const YamlNode& item : node.items) {
            if (const YamlNode* path = item.find("path")) {
              paths.push_back(path->scalar);
            } else {
              settings.error(item.where, "a dataset needs a path");
            }
          }
        },
        [this] {
          std::vector<std::string> rows;
          for (const auto& p : paths) rows.push_back(cat("{path: ", yaml_scalar(p), "}"));
          return cat("[", join(rows, ", "), "]");
        });
    s.not_yet("deepspeed", "nibble has its own parallelism");
  }
  void read(std::string_view yaml) { s.read(parse_yaml(yaml, "recipe.yaml")); }
  std::vector<std::string> finish() {
    std::vector<std::string> out;
    try {
      s.finish();
    } catch (const UserErrors& errors) {
      EXPECT_EQ(errors.code(), Exit::usage);
      for (const UserError& error : errors.all()) out.emplace_back(error.what());
    }
    return out;
  }
};

std::vector<std::string> mistakes(std::string_view yaml) {
  Recipe recipe;
  recipe.read(yaml);
  return recipe.finish();
}

using Lines = std::vector<std::string>;

TEST(Settings, ARecipeFillsItsVariables) {
  Recipe r;
  r.read(
      "base_model: m\nquant: {type: fp4, block_size: 128}\nlora_r: 8\nlr: 1e-4\n"
      "weight_decay: .5\nsample_packing: true\nmax_steps: 10\nwarmup_ratio: +0.1\n"
      "lora_target_modules: [k_proj, v_proj]\nnote: 12\ndatasets:\n  - path: a.jsonl\n");
  EXPECT_EQ(r.finish(), Lines{});
  EXPECT_EQ(r.base_model, "m");
  EXPECT_EQ(r.type, "fp4");
  EXPECT_EQ(r.block, 128);
  EXPECT_EQ(r.r, 8);
  EXPECT_EQ(r.rate, 1e-4f);
  EXPECT_EQ(r.decay, 0.5);
  EXPECT_TRUE(r.packing);
  EXPECT_EQ(r.steps, 10);
  EXPECT_EQ(r.ratio, 0.1);
  EXPECT_EQ(r.text, "12");
  EXPECT_EQ(r.modules, (Lines{"k_proj", "v_proj"}));
  EXPECT_EQ(r.paths, Lines{"a.jsonl"});
  EXPECT_TRUE(r.s.given("learning_rate"));
  EXPECT_TRUE(r.s.given("lr"));
  EXPECT_FALSE(r.s.given("optimizer"));
  EXPECT_EQ(r.s.where("learning_rate").str(), "recipe.yaml:4:5");
  EXPECT_EQ(r.s.where("optimizer").str(), "recipe.yaml");
}

TEST(Settings, AllMistakesComeTogetherInTheOrderOfTheirPlaces) {
  EXPECT_EQ(mistakes("max_steps: 0\nlearning_rat: 2e-4\nlora_r:  0\nquant: {typ: nf4}\n"
                     "sample_packing: yes\noptimizer: lion\ndatasets: [{file: x}]\n"),
            (Lines{"recipe.yaml:1:12: max_steps must be at least 1, got 0",
                   "recipe.yaml:2:1: unknown key 'learning_rat' (did you mean 'learning_rate'?)",
                   "recipe.yaml:3:10: lora_r must be at least 1, got 0",
                   "recipe.yaml:4:9: unknown key 'typ' under 'quant' (did you mean 'type'?)",
                   "recipe.yaml:5:17: sample_packing must be true or false, got 'yes' (write true)",
                   "recipe.yaml:6:12: optimizer 'lion' is not supported yet (it comes with the "
                   "optimizers)",
                   "recipe.yaml:7:12: a dataset needs a path"}));
}

TEST(Settings, ValuesOfTheWrongKindSayWhatIsWanted) {
  const auto one = [](std::string_view yaml) {
    const auto all = mistakes(yaml);
    EXPECT_EQ(all.size(), 1u) << yaml;
    return all.empty() ? "" : all[0];
  };
  EXPECT_EQ(one("lora_r: 1_000"),
            "recipe.yaml:1:9: lora_r must be a whole number, got '1_000' (write it without "
            "underscores)");
  EXPECT_EQ(one("lora_r: 16.0"), "recipe.yaml:1:9: lora_r must be a whole number, got '16.0'");
  EXPECT_EQ(one("lora_r: \"16\""),
            "recipe.yaml:1:9: lora_r must be a whole number, got the text \"16\" (remove the "
            "quotes)");
  EXPECT_EQ(one("lora_r: 3000000000"),
            "recipe.yaml:1:9: lora_r must be a whole number of at most 32 bits, got '3000000000'");
  EXPECT_EQ(one("max_steps: 99999999999999999999"),
            "recipe.yaml:1:12: max_steps must be a whole number of at most 64 bits, got "
            "'99999999999999999999'");
  EXPECT_EQ(one("lora_r:"), "recipe.yaml:1:1: lora_r must be a whole number, got nothing");
  EXPECT_EQ(one("lora_r: [1]"), "recipe.yaml:1:9: lora_r must be a whole number, got a list");
  EXPECT_EQ(one("lr: .inf"), "recipe.yaml:1:5: lr must be a number, got '.inf'");
  EXPECT_EQ(one("lr: nan"), "recipe.yaml:1:5: lr must be a number, got 'nan'");
  EXPECT_EQ(one("lr: 1e39"), "recipe.yaml:1:5: lr must be a number that fits, got '1e39'");
  EXPECT_EQ(one("lr: 0"), "recipe.yaml:1:5: lr must be above 0, got 0");
  EXPECT_EQ(one("weight_decay: 1"),
            "recipe.yaml:1:15: weight_decay must be at least 0 and below 1, got 1");
  EXPECT_EQ(one("quant: {block_size: 16}"),
            "recipe.yaml:1:21: quant.block_size must be between 32 and 4096, got 16");
  EXPECT_EQ(one("quant: nf4"),
            "recipe.yaml:1:8: 'quant' takes a map, got 'nf4' (it holds type, block_size)");
  EXPECT_EQ(one("optimizer: adamw_8bits"),
            "recipe.yaml:1:12: optimizer must be one of adamw, adamw_8bit; got 'adamw_8bits' (did "
            "you mean 'adamw_8bit'?)");
  EXPECT_EQ(one("base_model: {a: b}"), "recipe.yaml:1:13: base_model must be text, got a map");
  EXPECT_EQ(one("- a"),
            "recipe.yaml:1:1: is no recipe: it must be a map of keys and values (write "
            "one 'key: value' on each line)");
}

TEST(Settings, MisplacedAndForeignKeysAreNamed) {
  EXPECT_EQ(mistakes("block_size: 32\nquant: {lora_r: 4}\ndeepspeed: x.json\n"),
            (Lines{"recipe.yaml:1:1: 'block_size' belongs under 'quant' (write quant: "
                   "{block_size: …})",
                   "recipe.yaml:2:9: 'lora_r' belongs at the top level, not under 'quant' (move it "
                   "out)",
                   "recipe.yaml:3:1: 'deepspeed' is not supported yet (nibble has its own "
                   "parallelism)"}));
}

TEST(Settings, TwoSpellingsMustAgree) {
  EXPECT_EQ(mistakes("learning_rate: 2e-4\nlr: 0.0002\n"), Lines{});
  EXPECT_EQ(mistakes("learning_rate: 2e-4\nlr: 1e-4\n"),
            (Lines{"recipe.yaml:2:1: 'lr' is 1e-4, but 'learning_rate' is 2e-4 at "
                   "recipe.yaml:1:16; both name the same setting (keep one)"}));
}

TEST(Settings, AFlagBeatsTheEnvironmentBeatsTheRecipe) {
  ::setenv("NIBBLE_LORA_R", "32", 1);
  ::setenv("NIBBLE_QUANT_BLOCK_SIZE", "256", 1);
  Recipe r;
  r.s.assign("learning-rate", "3e-4", {});
  r.s.read_environment();
  r.read("lora_r: 8\nlearning_rate: 1e-4\nquant: {block_size: 64, type: fp4}\n");
  r.s.assign("quant.type", "nf4", {});
  ::unsetenv("NIBBLE_LORA_R");
  ::unsetenv("NIBBLE_QUANT_BLOCK_SIZE");
  EXPECT_EQ(r.finish(), Lines{});
  EXPECT_EQ(r.r, 32);
  EXPECT_EQ(r.block, 256);
  EXPECT_EQ(r.rate, 3e-4f);
  EXPECT_EQ(r.type, "nf4");
  EXPECT_EQ(r.s.where("lora_r").str(), "NIBBLE_LORA_R");
}

TEST(Settings, AStrongerSourceMendsABadValue) {
  Recipe r;
  r.read("lora_r: 0\ndatasets: [{}]\n");
  r.s.assign("lora_r", "4", {});
  r.s.assign("datasets", "[{path: b}]", {});
  EXPECT_EQ(r.finish(), Lines{});
  EXPECT_EQ(r.r, 4);
  EXPECT_EQ(r.paths, Lines{"b"});
}

TEST(Settings, TheCommandLineTakesMapsListsAndRawText) {
  Recipe r;
  r.s.assign("quant", "{type: fp4, block_size: 32}", {"--quant"});
  r.s.assign("lora_target_modules", "k_proj", {});
  r.s.assign("lora_target_modules", "[v_proj, o_proj]", {});
  r.s.assign("note", "a: [b", {});  // text is text, whatever YAML would say
  r.s.assign("max_steps", "null", {});
  EXPECT_EQ(r.finish(), Lines{});
  EXPECT_EQ(r.type, "fp4");
  EXPECT_EQ(r.block, 32);
  EXPECT_EQ(r.modules, (Lines{"k_proj", "v_proj", "o_proj"}));
  EXPECT_EQ(r.text, "a: [b");
  EXPECT_FALSE(r.steps.has_value());

  Recipe bad;
  bad.s.assign("lora_x", "4", {"lora_x=4"});
  bad.s.assign("lora_r", "8", {"--lora-r"});
  bad.s.assign("lora_r", "9", {"--lora-r"});
  bad.s.assign("datasets", "[{path: b", {"--datasets"});
  const Lines all = bad.finish();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0], "lora_x=4: unknown key 'lora_x' (did you mean 'lora_r'?)");
  EXPECT_EQ(all[1], "--lora-r: 'lora_r' is given twice: 8 and 9 (keep one)");
  EXPECT_NE(all[2].find("--datasets: datasets: not YAML"), std::string::npos) << all[2];
}

TEST(Settings, RequiredKeysAreMissedByName) {
  std::string dir;
  Settings s;
  s.field("base_model", dir, "directory of the model").required();
  s.read(parse_yaml("", "recipe.yaml"));
  try {
    s.finish();
    FAIL();
  } catch (const UserErrors& errors) {
    EXPECT_STREQ(errors.what(), "recipe.yaml: 'base_model' is missing (directory of the model)");
  }
}

TEST(Settings, TheDumpReadsBackToTheSameValues) {
  Recipe a;
  a.read(
      "base_model: \"12\"\nquant: {type: fp4}\nlr: 0.1\nmax_steps: 7\nnote: \"a: b\"\n"
      "lora_target_modules: ['.*_proj', x]\ndatasets: [{path: \"q r\"}]\nsample_packing: true\n");
  EXPECT_EQ(a.finish(), Lines{});
  const std::string text = a.s.dump();
  Recipe b;
  b.read(text);
  EXPECT_EQ(b.finish(), Lines{}) << text;
  EXPECT_EQ(b.s.dump(), text);
  EXPECT_EQ(b.base_model, "12");
  EXPECT_EQ(b.rate, 0.1f);
  EXPECT_EQ(b.modules, (Lines{".*_proj", "x"}));
  EXPECT_EQ(b.paths, Lines{"q r"});
  EXPECT_FALSE(b.s.given("warmup_ratio"));  // null is no value
  EXPECT_NE(text.find("# Training\nlora_r: 16\nlearning_rate: 0.1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("quant:\n  type: fp4\n  block_size: 64\n"), std::string::npos) << text;
}

TEST(Settings, HelpFitsTheTerminal) {
  const Recipe r;
  const std::string help = r.s.help("--");
  for (const std::string& line : split(help, '\n')) EXPECT_LE(line.size(), 80u) << line;
  EXPECT_NE(help.find("Training\n  --lora-r N "), std::string::npos) << help;
  EXPECT_NE(help.find("default 2e-4"), std::string::npos);
  EXPECT_NE(r.s.help().find("  base_model DIR "), std::string::npos);
}

TEST(Settings, ARecipeFileReportsItsDuplicatesWithTheRest) {
  const std::string path = ::testing::TempDir() + "/nibble_settings_test.yaml";
  FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fputs("lora_r: 0\nseed: 1\nlora_r: 4\n", file);
  std::fclose(file);
  Recipe r;
  r.s.read_recipe(path);
  const Lines all = r.finish();
  std::remove(path.c_str());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_NE(all[0].find(":1:9: lora_r must be"), std::string::npos);
  EXPECT_NE(all[1].find(":2:1: unknown key 'seed'"), std::string::npos);
  EXPECT_NE(all[2].find(":3:1: 'lora_r' is given twice"), std::string::npos);
}

TEST(Settings, ARowDeclaredTwiceIsOurBug) {
  int a = 0;
  Settings s;
  s.field("a", a, "");
  EXPECT_THROW(s.field("a", a, ""), Bug);
}

}  // namespace
}  // namespace nibble
