// What a directory that lies or misses something is told.
#include "kernels/float_types.h"
#include "model/files/hf_directory.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;
using testing::write_text;

class Load : public ::testing::Test {
 protected:
  void make(const std::string& config) {
    write_text(folder_ / "config.json", config);
    make_model(device_, folder_ / "config.json", folder_ / "m", 3);
  }
  void configure(const std::string& config) { write_text(folder_ / "m/config.json", config); }
  std::string complaint() {
    try {
      (void)load_model(device_, folder_ / "m", testing::in_f32());
    } catch (const UserError& e) {
      return e.what();
    } catch (const UserErrors& e) {
      return e.what();
    }
    return "";
  }
  TemporaryFolder folder_;
  Device device_ = Device::cpu(1);
};

TEST_F(Load, ARandomModelIsReadBack) {
  make(testing::tiny_config());
  EXPECT_EQ(complaint(), "");
}

TEST_F(Load, SameSeedSameBytes) {
  make(testing::tiny_config());
  make_model(device_, folder_ / "config.json", folder_ / "again", 3);
  make_model(device_, folder_ / "config.json", folder_ / "other", 4);
  const std::string first = read_file(folder_ / "m/model.safetensors");
  EXPECT_EQ(first, read_file(folder_ / "again/model.safetensors"));
  EXPECT_NE(first, read_file(folder_ / "other/model.safetensors"));
}

TEST_F(Load, AShapeThatDisagreesNamesBoth) {
  make(testing::tiny_config());
  std::string config = testing::tiny_config();
  config.replace(config.find("\"vocab_size\":96"), 15, "\"vocab_size\":97");
  configure(config);
  const std::string text = complaint();
  EXPECT_NE(text.find("(96, 64)"), std::string::npos) << text;
  EXPECT_NE(text.find("(97, 64)"), std::string::npos) << text;
}

TEST_F(Load, ATensorLeftOverIsNamed) {
  make(testing::tiny_config(R"(,"attention_bias":true)"));
  configure(testing::tiny_config());
  EXPECT_NE(complaint().find("model.layers.0.self_attn"), std::string::npos) << complaint();
}

TEST_F(Load, AMissingTensorIsNamed) {
  make(testing::tiny_config());
  configure(testing::tiny_config(R"(,"mlp_bias":true)"));
  EXPECT_NE(complaint().find("model.layers.0.mlp.gate_proj.bias"), std::string::npos)
      << complaint();
}

TEST_F(Load, KeysThatChangeNumbersAreRefusedByName) {
  make(testing::tiny_config());
  for (const auto& [more, name] : std::vector<std::pair<std::string, std::string>>{
           {R"(,"rope_scaling":{"rope_type":"ntk","factor":4})", "ntk"},
           {R"(,"sliding_layers":3)", "sliding_layers"},
           {R"(,"partial_rotary_factor":1.5)", "partial_rotary_factor"},
           {R"(,"quantization_config":{"quant_method":"gptq"})", "gptq"}}) {
    configure(testing::tiny_config(more));
    EXPECT_NE(complaint().find(name), std::string::npos) << complaint();
  }
  std::string other = testing::tiny_config();
  other.replace(other.find("llama"), 5, "lama2");
  configure(other);
  EXPECT_NE(complaint().find("lama2"), std::string::npos);
}

TEST_F(Load, BothSpellingsOfTheRotaryBaseAreOne) {
  const Json old_way = parse_json(testing::tiny_config(), "old");
  std::string text =
      testing::tiny_config(R"(,"rope_parameters":{"rope_theta":500000.0,"rope_type":"default"})");
  EXPECT_EQ(read_blueprint(old_way, "old").ropes[0].theta, 10000.0);
  EXPECT_EQ(read_blueprint(parse_json(text, "new"), "new").ropes[0].theta, 500000.0);
}

TEST_F(Load, ADenseWeightIsRoundedToAComputeTypeOf16Bits) {
  make(testing::tiny_config());
  const Model exact = load_model(device_, folder_ / "m", testing::in_f32());
  const std::string path = "model.layers.1.mlp.up_proj";
  const Tensor& from = exact.decoder->find_linear(path)->weight()->codes;
  ASSERT_EQ(from.dtype(), DType::f32);
  for (const DType compute : {DType::bf16, DType::f16}) {
    LoadOptions options;
    options.compute = compute;
    const Model model = load_model(device_, folder_ / "m", options);
    const Tensor& got = model.decoder->find_linear(path)->weight()->codes;
    ASSERT_EQ(got.dtype(), compute);
    const double step = compute == DType::f16 ? 0x1p-11 : 0x1p-8;
    double worst = 0;
    for (int64_t i = 0; i < got.numel(); ++i) {
      const double x = from.data<float>()[i];
      const uint16_t bits = got.data<uint16_t>()[i];
      const double y = compute == DType::f16 ? widen(f16{bits}) : widen(bf16{bits});
      ASSERT_LE(std::abs(y - x), step * std::abs(x) + 0x1p-25) << i;
      worst = std::max(worst, std::abs(y - x) / std::abs(x));
    }
    EXPECT_GT(worst, step / 2) << "not rounded at all";
  }
}

TEST_F(Load, AWeightBeyondF16IsNamedWithItsIndex) {
  std::string config = testing::tiny_config();
  config.replace(config.find("\"initializer_range\":0.2"), 23, "\"initializer_range\":30000");
  make(config);
  LoadOptions options;
  options.compute = DType::f16;
  try {
    (void)load_model(device_, folder_ / "m", options);
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("65504"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find(".weight"), std::string::npos) << e.what();
    EXPECT_EQ(e.code(), Exit::bad_data);
  }
  options.compute = DType::bf16;
  EXPECT_NO_THROW((void)load_model(device_, folder_ / "m", options));
}

TEST_F(Load, NanInAWeightToBeQuantizedIsNamed) {
  make(testing::tiny_config());
  const TensorFiles files = TensorFiles::open(folder_ / "m");
  NamedTensors all;
  for (const TensorInfo& info : files.tensors())
    all.emplace_back(info.name, files.read(info.name, device_.memory(), Purpose::staging));
  for (auto& [name, tensor] : all)
    if (name == "model.layers.1.mlp.up_proj.weight") tensor.data<float>()[130] = NAN;
  write_safetensors(folder_ / "m/model.safetensors", all);
  LoadOptions options = testing::in_f32();
  options.quant = QuantSpec{};
  try {
    (void)load_model(device_, folder_ / "m", options);
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("model.layers.1.mlp.up_proj.weight"), std::string::npos);
    EXPECT_EQ(e.code(), Exit::bad_data);
  }
}

TEST(HubCache, FindsASnapshotAndSaysHowToGetOne) {
  TemporaryFolder folder;
  std::filesystem::create_directories(folder / "models--a--b/snapshots/abc");
  std::filesystem::create_directories(folder / "models--a--b/refs");
  write_text(folder / "models--a--b/refs/main", "abc");
  ::setenv("HF_HUB_CACHE", folder.path().c_str(), 1);
  EXPECT_EQ(resolve_model("a/b"), folder / "models--a--b/snapshots/abc");
  try {
    (void)resolve_model("a/c");
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), Exit::missing_input);
    EXPECT_NE(e.hint().find("download"), std::string::npos);
  }
  ::unsetenv("HF_HUB_CACHE");
}

TEST(ShardPlan, NeverSplitsATensorAndNamesLikeTheHub) {
  const ShardPlan one = plan_shards({10, 20}, 100);
  EXPECT_EQ(one.names, std::vector<std::string>{"model.safetensors"});
  const ShardPlan many = plan_shards({60, 60, 30, 200}, 100);
  EXPECT_EQ(many.shards, (std::vector<std::vector<size_t>>{{0}, {1, 2}, {3}}));
  EXPECT_EQ(many.names[1], "model-00002-of-00003.safetensors");
}

}  // namespace
}  // namespace nibble
