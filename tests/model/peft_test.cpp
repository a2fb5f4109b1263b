#include "model/files/peft.h"

#include "model/merge.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

using testing::golden_path;
using testing::largest_difference;
using testing::read_ids;
using testing::read_values;
using testing::TemporaryFolder;

AdapterConfig targets(std::vector<std::string> names) {
  AdapterConfig config;
  config.target_modules = std::move(names);
  return config;
}

const std::vector<std::string> kPaths{"model.layers.0.self_attn.q_proj",
                                      "model.layers.0.self_attn.v_proj",
                                      "model.layers.0.mlp.up_proj"};

TEST(MatchTargets, NamesRegexAndAllLinear) {
  EXPECT_EQ(match_targets(targets({"q_proj", "mlp.up_proj"}), kPaths, "lm_head"),
            (std::vector<std::string>{kPaths[0], kPaths[2]}));
  AdapterConfig regex;
  regex.target_regex = R"(.*\.self_attn\.(q|v)_proj)";
  EXPECT_EQ(match_targets(regex, kPaths, "lm_head").size(), 2U);
  regex.target_regex = "q_proj";  // the whole path must match
  EXPECT_THROW(match_targets(regex, kPaths, "lm_head"), UserError);
  AdapterConfig all;
  all.all_linear = true;
  EXPECT_EQ(match_targets(all, kPaths, "lm_head"), kPaths);
  EXPECT_THROW(match_targets(targets({"proj"}), kPaths, "lm_head"), UserError);
  EXPECT_THROW(match_targets(targets({"lm_head"}), kPaths, "lm_head"), UserError);
}

TEST(Peft, AnAdapterIsWrittenAsItWasRead) {
  const Device device = Device::cpu(1);
  Model model = load_model(device, golden_path("models/base-llama"), testing::in_f32());
  const std::string from = golden_path("models/lora-llama/adapter-initial");
  const AdapterConfig config = load_adapter(from, *model.decoder, 0, true, device);
  TemporaryFolder folder;
  save_adapter(folder.path(), config, *model.decoder, 0);
  const TensorFiles a = TensorFiles::open_file(from + "/adapter_model.safetensors");
  const TensorFiles b = TensorFiles::open_file(folder / "adapter_model.safetensors");
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const TensorInfo& info : a.tensors())
    EXPECT_EQ(read_values(a, info.name), read_values(b, info.name)) << info.name;
  const AdapterConfig again = read_adapter_config(folder.path());
  EXPECT_EQ(again.r, 6);
  EXPECT_EQ(again.scale(), 2.0);
}

TEST(Peft, WhatIsNotDoneYetIsRefusedByName) {
  TemporaryFolder folder;
  for (const char* key :
       {R"("use_dora":true)", R"("bias":"all")", R"("lora_bias":true)", R"("rank_pattern":{"q":4})",
        R"("some_new_key":3)", R"("peft_type":"IA3")"}) {
    testing::write_text(
        folder / "adapter_config.json",
        std::string(R"({"r":4,"lora_alpha":8,"target_modules":["q_proj"],)") + key + "}");
    try {
      (void)read_adapter_config(folder.path());
      ADD_FAILURE() << key;
    } catch (const UserError& e) {
      const std::string name(key + 1, std::string(key).find('"', 1) - 1);
      EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
    }
  }
}

TEST(Peft, AnAdapterOfAnotherBaseIsRefused) {
  const Device device = Device::cpu(1);
  Model model = load_model(device, golden_path("models/llama-tied"), testing::in_f32());
  EXPECT_THROW(load_adapter(golden_path("models/lora-llama/adapter-initial"), *model.decoder, 0,
                            false, device),
               UserError);
}

TEST(Peft, LogitsAndMergedWeightsMatchPeft) {
  NIBBLE_REQUIRE_DATA(peft, "golden/models/peft");
  const Device device = Device::cpu(2);
  for (const char* name :
       {"lora-qv", "lora-all-names", "all-linear", "regex", "rslora", "bf16-file"}) {
    const std::string folder = peft + "/" + name;
    const Json config = read_json(folder + "/adapter_config.json");
    const std::string base = folder + "/" + config["base_model_name_or_path"].get<std::string>();
    Model model = load_model(device, base, testing::in_f32());
    load_adapter(folder, *model.decoder, 0, false, device);
    const TensorFiles golden = TensorFiles::open(folder, "golden");
    TemporaryFolder out;
    merge(device, base, folder, out / "f32", {{}, DType::f32});
    merge(device, base, folder, out / "base", {});
    const Model merged = load_model(device, out / "f32", testing::in_f32());
    const Model rounded = load_model(device, out / "base", testing::in_f32());
    for (const std::string p : {"p0", "p1"}) {
      const auto ids = read_ids(golden, p + ".input_ids");
      const auto want = read_values(golden, p + ".logits");
      const auto [low, high] = std::minmax_element(want.begin(), want.end());
      const double range = *high - *low;
      EXPECT_LT(largest_difference(testing::logits_of(device, model, ids), want), 1e-4 * range)
          << name;
      EXPECT_LT(largest_difference(testing::logits_of(device, merged, ids), want), 1e-4 * range)
          << name;
      EXPECT_LT(largest_difference(testing::logits_of(device, rounded, ids), want), 5e-2 * range)
          << name;
    }
    const TensorFiles weights = TensorFiles::open(out / "f32");
    for (const TensorInfo& info : golden.tensors()) {
      if (!starts_with(info.name, "merged.")) continue;
      const double worst = largest_difference(read_values(weights, info.name.substr(7)),
                                              read_values(golden, info.name));
      EXPECT_LT(worst, 1e-5) << name << " " << info.name;
    }
  }
}

TEST(Merge, KeepsConfigOrderAndCompanionsByteForByte) {
  TemporaryFolder folder;
  const Device device = Device::cpu(1);
  std::filesystem::copy(golden_path("models/base-llama"), folder / "base");
  testing::write_text(folder / "base/tokenizer.json", "{ \"x\":  1}\n");
  merge(device, folder / "base", golden_path("models/lora-llama/adapter-final"), folder / "out",
        {});
  EXPECT_EQ(read_file(folder / "out/tokenizer.json"), "{ \"x\":  1}\n");
  EXPECT_EQ(read_file(folder / "out/generation_config.json"),
            read_file(folder / "base/generation_config.json"));
  const Json before = read_json(folder / "base/config.json"),
             after = read_json(folder / "out/config.json");
  EXPECT_EQ(before.dump(), after.dump());
}

TEST(Merge, OntoAFourBitBaseAddsToTheDecodedWeights) {
  const Device device = Device::cpu(2);
  const std::string base = golden_path("models/base-llama-nf4");
  const std::string adapter = golden_path("models/qlora-llama/adapter-final");
  TemporaryFolder folder;
  const MergeReport report = merge(device, base, adapter, folder / "out", {{}, DType::f32});
  EXPECT_EQ(report.mode, MergeMode::trained);
  EXPECT_EQ(report.merged, 14);
  EXPECT_FALSE(read_json(folder / "out/config.json").contains("quantization_config"));
  Model unmerged = load_model(device, base, testing::in_f32());
  load_adapter(adapter, *unmerged.decoder, 0, false, device);
  const Model merged = load_model(device, folder / "out", testing::in_f32());
  const std::vector<int32_t> ids{1, 5, 9, 33, 77, 120, 4, 8, 2};
  EXPECT_LT(largest_difference(testing::logits_of(device, unmerged, ids),
                               testing::logits_of(device, merged, ids)),
            1e-4);
  EXPECT_THROW(merge(device, base, adapter, folder / "x", {MergeMode::original, {}}), UserError);
  EXPECT_FALSE(exists(folder / "x"));
}

}  // namespace
}  // namespace nibble
