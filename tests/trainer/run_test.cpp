// Resume, determinism, signals and bad ends of whole runs on a tiny random model.
#include "trainer/run.h"

#include <csignal>
#include <thread>

#include "tests/support/model_data.h"
#include "trainer/checkpoints.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;
using testing::write_text;
using Overrides = std::vector<std::pair<std::string, std::string>>;

class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_text(folder_ / "config.json", testing::tiny_config());
    make_model(Device::cpu(1), folder_ / "config.json", folder_ / "base", 5);
    std::string rows;
    for (int i = 0; i < 23; ++i) {
      std::string ids = "1";
      for (int k = 0; k < 5 + i % 7; ++k) ids += cat(",", 3 + (i * 7 + k * 5) % 90);
      rows += cat("{\"input_ids\":[", ids, "]}\n");
    }
    write_text(folder_ / "rows.jsonl", rows);
    write_text(folder_ / "recipe.yaml", cat("base_model: ", folder_ / "base", "\nadapter: qlora\n",
                                            "datasets: [{path: ", folder_ / "rows.jsonl",
                                            ", type: tokens}]\nlora_r: 4\nlora_alpha: 8\n"
                                            "lora_dropout: 0.1\nmicro_batch_size: 2\n"
                                            "gradient_accumulation_steps: 3\nnum_epochs: 3\n"
                                            "learning_rate: 1e-2\nwarmup_steps: 2\n"
                                            "optimizer: adamw_8bit\nseed: 7\n"));
  }
  RunReport run(const std::string& out, Overrides more = {}) {
    more.emplace_back("output_dir", folder_ / out);
    return train(folder_ / "recipe.yaml", more);
  }
  std::string adapter(const std::string& out) {
    return read_file(folder_ / (out + "/adapter_model.safetensors"));
  }
  TemporaryFolder folder_;
};

TEST_F(RunTest, TheSameRecipeGivesTheSameBytesOnAnyThreads) {
  run("a", {{"threads", "1"}});
  run("b", {{"threads", "3"}});
  run("c", {{"gradient_checkpointing", "every_layer"}});
  EXPECT_EQ(adapter("a"), adapter("b"));
  EXPECT_EQ(adapter("a"), adapter("c"));
  run("d", {{"seed", "8"}});
  EXPECT_NE(adapter("a"), adapter("d"));
}

TEST_F(RunTest, ResumingFromEveryStepEndsWithTheSameBytes) {
  for (const char* kind : {"qlora", "full"}) {
    Overrides more{{"save_steps", "1"}, {"save_total_limit", "0"}};
    if (std::string(kind) == "full")
      write_text(folder_ / "recipe.yaml",
                 cat("base_model: ", folder_ / "base",
                     "\nadapter: full\ndatasets: [{path: ", folder_ / "rows.jsonl",
                     ", type: tokens}]\nmicro_batch_size: 2\n"
                     "gradient_accumulation_steps: 3\nnum_epochs: 3\nlearning_rate: 1e-3\n"
                     "optimizer: adamw_8bit\nseed: 7\n"));
    const std::string whole = cat("whole-", kind), part = cat("part-", kind);
    const RunReport report = run(whole, more);
    const std::string file =
        std::string(kind) == "full" ? "/model.safetensors" : "/adapter_model.safetensors";
    for (int64_t step = 1; step < report.steps; step += 3) {
      std::filesystem::remove_all(folder_ / part);
      std::filesystem::create_directories(folder_ / part);
      std::filesystem::copy(folder_ / cat(whole, "/", checkpoint_name(step)),
                            folder_ / cat(part, "/", checkpoint_name(step)));
      run(part, {{"resume_from_checkpoint", "auto"}});
      EXPECT_EQ(read_file(folder_ / (whole + file)), read_file(folder_ / (part + file)))
          << kind << " from step " << step;
    }
  }
}

TEST_F(RunTest, AutoStartsFreshAndLeavesAFinishedRunAlone) {
  const RunReport first = run("r", {{"resume_from_checkpoint", "auto"}, {"max_steps", "2"}});
  EXPECT_EQ(first.steps, 2);
  const std::string bytes = adapter("r");
  const RunReport again = run("r", {{"resume_from_checkpoint", "auto"}, {"max_steps", "2"}});
  EXPECT_TRUE(again.already_done);
  EXPECT_EQ(adapter("r"), bytes);
  try {
    run("r", {{"max_steps", "2"}});
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), Exit::cannot_create);
  }
}

TEST_F(RunTest, ADamagedCheckpointIsPassedOver) {
  run("r", {{"save_steps", "2"}, {"save_total_limit", "0"}, {"max_steps", "6"}});
  const std::string whole = adapter("r");
  std::filesystem::remove(folder_ / "r/trainer_state.json");
  std::filesystem::remove(folder_ / "r/adapter_model.safetensors");
  const std::string victim = folder_ / "r/checkpoint-6/optimizer.safetensors";
  std::string bytes = read_file(victim);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_text(victim, bytes);
  EXPECT_EQ(newest_checkpoint(folder_ / "r"), folder_ / "r/checkpoint-4");
  run("r", {{"resume_from_checkpoint", "auto"},
            {"save_steps", "2"},
            {"save_total_limit", "0"},
            {"max_steps", "6"}});
  EXPECT_EQ(adapter("r"), whole);
}

TEST_F(RunTest, AnotherRecipeCannotResume) {
  run("r", {{"save_steps", "2"}, {"max_steps", "4"}});
  std::filesystem::remove(folder_ / "r/trainer_state.json");
  try {
    run("r", {{"resume_from_checkpoint", "auto"}, {"max_steps", "4"}, {"learning_rate", "0.5"}});
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("learning_rate"), std::string::npos) << e.what();
  }
}

TEST_F(RunTest, ASignalFinishesTheStepAndSaves) {
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    std::raise(SIGUSR1);
  }).detach();
  const RunReport report = run("r", {{"num_epochs", "100000"}, {"lr_scheduler", "constant"}});
  EXPECT_TRUE(report.stopped);
  EXPECT_GT(report.steps, 0);
  EXPECT_EQ(newest_checkpoint(folder_ / "r"), folder_ / cat("r/", checkpoint_name(report.steps)));
}

TEST_F(RunTest, ALossThatIsNotFiniteEndsWithTheLastGoodCheckpointNamed) {
  try {
    run("r", {{"learning_rate", "10"},
              {"save_steps", "1"},
              {"max_grad_norm", "0"},
              {"warmup_steps", "0"},
              {"lora_alpha", "1e18"},
              {"num_epochs", "50"}});
    ADD_FAILURE() << "the run did not diverge";
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), Exit::diverged);
    EXPECT_NE(std::string(e.what()).find("not finite"), std::string::npos);
  }
}

TEST_F(RunTest, AFullDiskLeavesTheOldCheckpoint) {
  run("good", {{"max_steps", "1"}});
  for (int n = 1; n < 60; n += 7) {
    std::filesystem::remove_all(folder_ / "r");
    set_fault(cat("write:", n, ":ENOSPC"));
    try {
      run("r", {{"save_steps", "1"}, {"max_steps", "3"}});
    } catch (const UserError& e) {
      EXPECT_EQ(e.code(), Exit::io) << e.what();
    }
    set_fault("");
    for (const auto& [step, path] : list_checkpoints(folder_ / "r")) verify_directory(path);
  }
}

TEST_F(RunTest, BadRowsNameFileAndLine) {
  for (const auto& [row, part] : std::vector<std::pair<std::string, std::string>>{
           {"{not json", "rows.jsonl:2"},
           {"{\"input_ids\":[1,2],\"labels\":[-100,-100]}", "nothing to learn"},
           {"{\"input_ids\":[1,2,96]}", "96"},
           {"{\"question\":\"x\"}", "rows.jsonl:2"},
           {"{\"input_ids\":[1,2],\"labels\":[1]}", "labels"}}) {
    write_text(folder_ / "rows.jsonl", "{\"input_ids\":[1,5,6]}\n" + row + "\n");
    try {
      run("r");
      ADD_FAILURE() << row;
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("rows.jsonl:2"), std::string::npos) << e.what();
      EXPECT_EQ(e.code(), Exit::bad_data);
    }
  }
}

}  // namespace
}  // namespace nibble
