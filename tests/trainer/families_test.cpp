// Every family: QLoRA over NF4 trains, its adapter loads again, and merging gives the same logits.
#include "model/merge.h"
#include "tests/support/family_configs.h"
#include "tests/support/model_data.h"
#include "trainer/run.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;
using testing::write_text;

class TrainedFamily : public ::testing::TestWithParam<testing::FamilyConfig> {
 protected:
  void SetUp() override {
    write_text(folder_ / "config.json", testing::family_config(GetParam()));
    make_model(device_, folder_ / "config.json", folder_ / "base", 3);
    std::string rows;
    for (int r = 0; r < 6; ++r) {
      Json ids = Json::array();
      for (int t = 0; t < 20 + r; ++t) ids.push_back((t * t + r * 5 + 3) % 61);
      rows += dump_json({{"input_ids", ids}}) + "\n";
    }
    write_text(folder_ / "rows.jsonl", rows);
  }
  std::vector<double> run(const std::string& adapter, const std::string& more) {
    const std::string out = folder_ / ("out-" + adapter);
    write_text(folder_ / "recipe.yaml",
               cat("base_model: ", folder_ / "base", "\nadapter: ", adapter,
                   "\ndatasets: [{path: ", folder_ / "rows.jsonl", ", type: tokens}]\n",
                   "dtype: f32\nmicro_batch_size: 2\nmax_steps: 4\nlearning_rate: 0.02\n",
                   "sample_packing: true\nsequence_len: 64\noutput_dir: ", out, "\n", more));
    train(folder_ / "recipe.yaml", {});
    std::vector<double> losses;
    for (const std::string& line : split(read_file(out + "/metrics.jsonl"), '\n'))
      if (!line.empty()) losses.push_back(parse_json(line, "metrics")["loss"].get<double>());
    return losses;
  }
  std::vector<double> logits(const Model& model) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 30; ++i) ids.push_back((i * 7 + 2) % 61);
    return testing::logits_of(device_, model, ids);
  }

  TemporaryFolder folder_;
  Device device_ = Device::cpu(2);
};

TEST_P(TrainedFamily, LearnsOverFourBitsAndMerges) {
  const auto losses = run("qlora", "lora_r: 4\n");
  ASSERT_EQ(losses.size(), 4u);
  EXPECT_LT(losses[3], losses[0]);

  LoadOptions options = testing::in_f32();
  options.quant = QuantSpec{};
  Model base = load_model(device_, folder_ / "base", options);
  const auto before = logits(base);
  load_adapter(folder_ / "out-qlora", *base.decoder, 0, false, device_);
  const auto adapted = logits(base);
  EXPECT_GT(testing::relative_norm(adapted, before), 1e-3);

  MergeOptions merging;
  merging.dtype = DType::f32;
  merge(device_, folder_ / "base", folder_ / "out-qlora", folder_ / "merged", merging);
  const Model merged = load_model(device_, folder_ / "merged", testing::in_f32());
  EXPECT_LT(testing::relative_norm(logits(merged), adapted), 1e-5);
}

TEST_P(TrainedFamily, LearnsInFullAndSavesWhatItLearned) {
  if (GetParam().keys.find("qk_layernorm") != std::string::npos &&
      GetParam().model_type == "stablelm")
    return;
  const auto losses = run("full", "save_dtype: f32\n");
  EXPECT_LT(losses.back(), losses.front());
  const Model saved = load_model(device_, folder_ / "out-full", testing::in_f32());
  const Model base = load_model(device_, folder_ / "base", testing::in_f32());
  EXPECT_GT(testing::relative_norm(logits(saved), logits(base)), 1e-3);
}

std::vector<testing::FamilyConfig> decoders() {
  auto all = testing::family_configs();
  all.erase(
      std::remove_if(all.begin(), all.end(), [](const auto& c) { return c.model_type == "bert"; }),
      all.end());
  return all;
}

INSTANTIATE_TEST_SUITE_P(Each, TrainedFamily, ::testing::ValuesIn(decoders()),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

}  // namespace
}  // namespace nibble
