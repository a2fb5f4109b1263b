// The Optimizer section at work in whole runs on a tiny random model.
#include <cmath>
#include <cstring>

#include "tests/support/family_configs.h"
#include "tests/support/model_data.h"
#include "trainer/checkpoints.h"
#include "trainer/run.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;
using testing::write_text;
using Overrides = std::vector<std::pair<std::string, std::string>>;

constexpr int kPoisoned = 77;  // a token that one row of the data has

class OptimizerRun : public ::testing::Test {
 protected:
  void SetUp() override { prepare(testing::tiny_config(), 90); }
  void prepare(std::string config, int vocabulary) {
    const std::string tied = "\"tie_word_embeddings\":true";
    if (const size_t at = config.find(tied); at != std::string::npos)
      config.replace(at, tied.size(), "\"tie_word_embeddings\":false");
    write_text(folder_ / "config.json", config);
    std::filesystem::remove_all(folder_ / "base");
    make_model(Device::cpu(1), folder_ / "config.json", folder_ / "base", 5);
    std::string rows;
    for (int i = 0; i < 11; ++i) {
      std::string ids = "1";
      for (int k = 0; k < 5 + i % 7; ++k) {
        const int id = 3 + (i * 7 + k * 5) % (vocabulary - 3);
        ids += cat(",", id == kPoisoned ? 4 : id);
      }
      if (i == 4) ids += vocabulary > kPoisoned ? cat(",", kPoisoned, ",5,6") : ",5,6";
      rows += cat("{\"input_ids\":[", ids, "]}\n");
    }
    write_text(folder_ / "rows.jsonl", rows);
  }
  void recipe(const std::string& more, const std::string& dtype = "f32") {
    write_text(folder_ / "recipe.yaml",
               cat("base_model: ", folder_ / "base", "\ndatasets: [{path: ", folder_ / "rows.jsonl",
                   ", type: tokens}]\nmicro_batch_size: 1\ndtype: ", dtype,
                   "\nnum_epochs: 2\nlearning_rate: 1e-2\nseed: 7\n", more));
  }
  // One row of the embedding becomes NaN: what reads it has no finite loss.
  void poison_base() {
    const std::string file = folder_ / "base/model.safetensors";
    std::string bytes = read_file(file);
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    const Json list = parse_json(bytes.substr(8, header), file);
    const Json& entry = list["model.embed_tokens.weight"];
    ASSERT_EQ(entry["dtype"], "F32");
    const uint64_t width = entry["shape"][1], begin = entry["data_offsets"][0];
    const float nan = std::nanf("");
    for (uint64_t i = 0; i < width; ++i)
      std::memcpy(bytes.data() + 8 + header + begin + (kPoisoned * width + i) * 4, &nan, 4);
    write_text(file, bytes);
  }
  RunReport run(const std::string& out, Overrides more = {}) {
    more.emplace_back("output_dir", folder_ / out);
    return train(folder_ / "recipe.yaml", more);
  }
  std::vector<Json> metrics(const std::string& out) {
    std::vector<Json> rows;
    for (const std::string& line : split(read_file(folder_ / (out + "/metrics.jsonl")), '\n'))
      if (!line.empty()) rows.push_back(parse_json(line, "metrics"));
    return rows;
  }
  // Runs the recipe, resumes it from every second step, and compares the weights.
  void expect_exact_resume(const std::string& weights) {
    const RunReport report = run("whole", {{"save_steps", "1"}, {"save_total_limit", "0"}});
    for (int64_t step = 1; step < report.steps; step += 2) {
      std::filesystem::remove_all(folder_ / "part");
      std::filesystem::create_directories(folder_ / "part");
      std::filesystem::copy(folder_ / cat("whole/", checkpoint_name(step)),
                            folder_ / cat("part/", checkpoint_name(step)));
      run("part", {{"resume_from_checkpoint", "auto"}, {"save_steps", "0"}});
      EXPECT_EQ(read_file(folder_ / ("whole/" + weights)), read_file(folder_ / ("part/" + weights)))
          << "from step " << step;
    }
  }
  // All values of the tensors whose names end so.
  std::vector<double> trained(const std::string& out, const std::string& end) {
    const TensorFiles files = TensorFiles::open(folder_ / out, "adapter_model");
    std::vector<double> all;
    for (const TensorInfo& info : files.tensors())
      if (ends_with(info.name, end))
        for (const double v : testing::read_values(files, info.name)) all.push_back(v);
    return all;
  }

  TemporaryFolder folder_;
};

TEST_F(OptimizerRun, ABadStepIsSkippedCountedAndReported) {
  poison_base();
  recipe("adapter: lora\nlora_r: 4\n");
  const RunReport report = run("r");
  EXPECT_EQ(report.steps, 22);
  EXPECT_TRUE(std::isfinite(report.last_loss));
  int64_t skipped = 0;
  for (const Json& row : metrics("r")) {
    if (!row.contains("skipped")) {
      EXPECT_TRUE(row["loss"].is_number()) << row;
      continue;
    }
    EXPECT_EQ(row["skipped"], "not finite");
    EXPECT_EQ(row["skipped_steps"], ++skipped);
  }
  EXPECT_EQ(skipped, 2);  // once an epoch
  EXPECT_EQ(metrics("r").size(), 22U);
  const Json state = read_json(folder_ / "r/trainer_state.json");
  EXPECT_EQ(state["nibble"]["update"]["skipped_steps"], 2);
  EXPECT_EQ(state["nibble"]["update"]["updates"], 20);
  for (const double v : trained("r", "weight")) ASSERT_TRUE(std::isfinite(v));
}

TEST_F(OptimizerRun, TooManyBadStepsEndWithTheLastGoodCheckpointNamed) {
  poison_base();
  recipe("adapter: lora\nlora_r: 4\nmax_bad_steps: 0\nsave_steps: 1\n");
  try {
    run("r");
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), Exit::diverged);
    EXPECT_NE(std::string(e.what()).find("not finite"), std::string::npos) << e.what();
    const auto newest = newest_checkpoint(folder_ / "r");
    ASSERT_TRUE(newest.has_value());
    EXPECT_NE(std::string(e.what()).find(*newest), std::string::npos) << e.what();
  }
}

TEST_F(OptimizerRun, EverythingAStepRemembersResumesWithTheSameBytes) {
  poison_base();
  recipe(
      "adapter: lora\nlora_r: 4\noptimizer: paged_adamw_8bit\nmin_8bit_size: 64\n"
      "percentile_clipping: 30\nmax_grad_value: 0.1\nweight_decay: 0.1\nloraplus_lr_ratio: 4\n"
      "optimizer_block_size: 64\noptimizer_state_budget: 8KiB\noptimizer_overrides:\n"
      "  - {match: v_proj, bits: 32, lr: 1e-3}\n  - {match: lora_A, weight_decay: 0}\n");
  expect_exact_resume("adapter_model.safetensors");
}

TEST_F(OptimizerRun, AnOverrideOfNothingNamesItsLine) {
  recipe("adapter: lora\noptimizer_overrides:\n  - {match: q_prj, bits: 32}\n");
  try {
    run("r");
    ADD_FAILURE();
  } catch (const UserErrors& e) {
    ASSERT_EQ(e.all().size(), 1U);
    EXPECT_EQ(e.all()[0].where().line, 10);
    EXPECT_NE(e.all()[0].hint().find("q_proj"), std::string::npos) << e.what();
    EXPECT_EQ(e.code(), Exit::usage);
  }
}

TEST_F(OptimizerRun, LoraPlusMovesBByItsRatioInTheFirstStep) {
  recipe("adapter: lora\nlora_r: 4\nmax_steps: 1\nlr_scheduler: constant\n");
  run("plain");
  run("plus", {{"loraplus_lr_ratio", "16"}});
  const auto b = trained("plain", "lora_B.weight"), b16 = trained("plus", "lora_B.weight");
  ASSERT_EQ(b.size(), b16.size());
  double moved = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    EXPECT_NEAR(b16[i], 16 * b[i], 1e-6 * std::abs(16 * b[i]));
    moved = std::max(moved, std::abs(b[i]));
  }
  EXPECT_NEAR(moved, 1e-2, 1e-5);  // Adam's first step is its rate
  EXPECT_EQ(trained("plain", "lora_A.weight"), trained("plus", "lora_A.weight"));
}

TEST_F(OptimizerRun, InF16TheLossIsScaledAndEveryOverflowHalvesTheScale) {
  recipe("adapter: lora\nlora_r: 4\nsave_steps: 1\n", "f16");
  run("half");
  double scale = 65536;
  int64_t updated = 0;
  for (const Json& row : metrics("half")) {
    EXPECT_EQ(row["loss_scale"], scale) << row;
    EXPECT_TRUE(row["loss"].is_number()) << row;
    if (row.contains("skipped")) {
      EXPECT_EQ(row["skipped"], "overflow") << row;
      scale /= 2;
    } else {
      ++updated;
    }
  }
  EXPECT_GT(updated, 10);
  const Json state = read_json(folder_ / "half/trainer_state.json")["nibble"]["update"];
  EXPECT_EQ(state["loss_scale"]["scale"], scale);
  EXPECT_EQ(state["updates"], updated);
  EXPECT_EQ(state["skipped_steps"], 22 - updated);
  run("single", {{"dtype", "f32"}});
  const double first = metrics("single")[0]["loss"];
  EXPECT_NEAR(metrics("half")[0]["loss"].get<double>(), first, 2e-3 * first);
  expect_exact_resume("adapter_model.safetensors");
}

TEST_F(OptimizerRun, Bf16MastersLearnInHalfTheBytesAndResumeWithTheSameOnes) {
  recipe("adapter: full\nmaster_dtype: bf16\nweight_decay: 0.1\nmax_steps: 7\n", "bf16");
  expect_exact_resume("model.safetensors");
  const TensorFiles files = TensorFiles::open(folder_ / "whole", "model");
  Memory memory;
  int64_t matrices = 0, wide = 0;  // values of vectors that bf16 cannot hold
  for (const TensorInfo& info : files.tensors()) {
    const Tensor x = files.read(info.name, memory, Purpose::staging);
    ASSERT_EQ(x.dtype(), DType::f32);
    matrices += x.shape().rank > 1;
    for (int64_t i = 0; i < x.numel(); ++i) {
      uint32_t bits = 0;
      std::memcpy(&bits, x.data<float>() + i, sizeof bits);
      const bool fits = (bits & 0xFFFF) == 0;
      if (x.shape().rank > 1) {
        ASSERT_TRUE(fits) << info.name;
      }
      wide += !fits;
    }
  }
  EXPECT_EQ(matrices, 16);
  EXPECT_GT(wide, 100);
  // They learn what f32 masters learn, but for the rounding.
  run("wide", {{"master_dtype", "f32"}});
  const auto half = metrics("whole"), full = metrics("wide");
  ASSERT_EQ(half.size(), full.size());
  for (size_t i = 0; i < half.size(); ++i)
    EXPECT_NEAR(half[i]["loss"].get<double>(), full[i]["loss"].get<double>(), 0.1) << i;
}

// Weights that lie (in, out) on file come back as they were.
TEST_F(OptimizerRun, AFamilyWithTransposedFilesResumesInFull) {
  for (const testing::FamilyConfig& family : testing::family_configs())
    if (family.name == "gpt2") prepare(testing::family_config(family), 61);
  recipe("adapter: full\nmax_steps: 7\n");
  expect_exact_resume("model.safetensors");
}

}  // namespace
}  // namespace nibble
