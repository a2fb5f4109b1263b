#include "cli/model_flags.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/errors.h"
#include "base/random.h"
#include "model/files/provenance.h"

namespace nibble {
namespace {

// A base, and an adapter beside it that remembers being trained on the base in nf4.
class ModelFlagsTest : public ::testing::Test {
 protected:
  ModelFlagsTest()
      : folder_(std::filesystem::temp_directory_path() /
                ("nibble-flags-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(adapter());
    std::ofstream(folder_ / "config.json") << R"({"model_type": "llama", "hidden_size": 64,
      "architectures": ["LlamaForCausalLM"], "intermediate_size": 128, "num_hidden_layers": 1,
      "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 50, "hidden_act": "silu",
      "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "torch_dtype": "float32"})";
    make_model(device_, folder_ / "config.json", base(), 1);
    Model model = load_model(device_, base(), {});
    AdapterConfig config;
    config.r = 2;
    config.target_modules = {"q_proj"};
    config.base_model = base();
    Linear* q = model.decoder->find_linear("model.layers.0.self_attn.q_proj");
    auto pair = std::make_shared<LoraPair>();
    for (Parameter* p : {&pair->a, &pair->b}) {
      const bool is_a = p == &pair->a;
      p->name = cat(q->path(), is_a ? ".lora_A.weight" : ".lora_B.weight");
      const Shape shape = is_a ? Shape{2, 64} : Shape{64, 2};
      p->value = Tensor::zeros(device_.memory(), shape, DType::f32, Purpose::adapter);
    }
    q->set_adapter(0, pair);
    save_adapter(adapter(), config, *model.decoder, 0);
    provenance_.base_model = base();
    provenance_.quant = QuantSpec{};
    provenance_.fingerprint = fingerprint_of(base());
    save_provenance(adapter(), provenance_);
  }
  ~ModelFlagsTest() override { std::filesystem::remove_all(folder_); }
  std::string base() const { return folder_ / "base"; }
  std::string adapter() const { return folder_ / "out"; }

  std::filesystem::path folder_;
  Device device_ = Device::cpu(1);
  Provenance provenance_;
};

TEST_F(ModelFlagsTest, AnAdaptersFolderStandsForItsBaseAsItWasTrainedOn) {
  ModelFlags flags;
  flags.model = adapter();
  const Model model = flags.load(device_);
  EXPECT_EQ(model.directory, base());
  ASSERT_TRUE(model.quant);
  EXPECT_EQ(model.quant->format, QuantSpec{}.format);
  EXPECT_TRUE(model.decoder->find_linear("model.layers.0.self_attn.q_proj")->adapter(0));
}

TEST_F(ModelFlagsTest, AnAdaptersOwnTokenizerIsTheModels) {
  ModelFlags flags;
  flags.model = adapter();
  EXPECT_EQ(flags.load(device_).tokenizer_directory, base());
  std::ofstream(folder_ / "out/tokenizer.json") << "{}";
  EXPECT_EQ(flags.load(device_).tokenizer_directory, adapter());
}

TEST_F(ModelFlagsTest, AGivenQuantizationOverridesTheRememberedOne) {
  ModelFlags flags;
  flags.model = adapter();
  flags.quant = "fp4";
  flags.no_double = true;
  const auto resolved = flags.resolve();
  ASSERT_TRUE(resolved.options.quant.linears);
  EXPECT_EQ(resolved.options.quant.linears->format, *format_named("fp4"));
  EXPECT_FALSE(resolved.options.quant.linears->double_quant);
}

TEST_F(ModelFlagsTest, EverySpellingOfAComputeTypeIsKnown) {
  for (const auto& [name, compute] :
       {std::pair("f32", DType::f32), std::pair("float32", DType::f32),
        std::pair("bf16", DType::bf16), std::pair("bfloat16", DType::bf16),
        std::pair("f16", DType::f16), std::pair("float16", DType::f16),
        std::pair("fp16", DType::f16)}) {
    ModelFlags flags;
    Settings settings;
    flags.declare_weights(settings);
    settings.assign("dtype", name, {});
    EXPECT_NO_THROW(settings.finish()) << name;
    EXPECT_EQ(flags.load_options().compute, compute) << name;
  }
}

TEST_F(ModelFlagsTest, AModelsFolderIsTakenAsItIs) {
  ModelFlags flags;
  flags.model = base();
  flags.adapter = adapter();
  const auto resolved = flags.resolve();
  EXPECT_EQ(resolved.directory, base());
  EXPECT_EQ(resolved.adapter, adapter());
  EXPECT_FALSE(resolved.options.quant);
}

TEST_F(ModelFlagsTest, TwoAdaptersAnotherBaseAndALostBaseAreRefusedWithTheCure) {
  ModelFlags flags;
  flags.model = flags.adapter = adapter();
  EXPECT_THROW(flags.resolve(), UserError);
  flags.adapter.clear();
  provenance_.fingerprint = "0123";
  save_provenance(adapter(), provenance_);
  EXPECT_THROW(flags.resolve(), UserError);
  provenance_.base_model = folder_ / "gone";
  save_provenance(adapter(), provenance_);
  try {
    flags.resolve();
    FAIL();
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), Exit::missing_input);
    EXPECT_NE(e.hint().find("BASE --adapter"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace nibble
