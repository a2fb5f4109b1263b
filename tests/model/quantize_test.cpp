// Directories quantized and decoded on disk, quantized ones served from their own bytes, and what
// spoilt ones are told.
#include "model/quantize.h"

#include "model/files/hf_directory.h"
#include "model/linear_paths.h"
#include "tests/support/model_data.h"
#include "tests/support/safetensors_lite.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;
using testing::write_text;
using Tensors = std::map<std::string, Tensor>;

Tensors tensors_of(const std::string& directory) {
  return testing::read_safetensors(directory + "/model.safetensors");
}

bool same_tensor(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0;
}

void expect_same(const Tensors& a, const Tensors& b) {
  EXPECT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) {
    ASSERT_EQ(b.count(name), 1U) << name;
    EXPECT_TRUE(same_tensor(tensor, b.at(name))) << name;
  }
}

QuantPlan plan_of(Format format) {
  QuantSpec spec;
  spec.format = format;
  if (rule_of(format).rows) spec.outlier_threshold = 6;
  return spec;
}

// Quantized models of the shared vectors: folder and format.
std::vector<std::pair<std::string, Format>> shared_models(const std::string& folder) {
  std::vector<std::pair<std::string, Format>> all;
  const Json list = read_json(folder + "/tiny.json");
  for (const auto& item : list.items()) {
    const std::string path = folder + "/" + item.key();
    if (!item.value().is_object() || !exists(path + "/config.json")) continue;
    const Json q = read_json(path + "/config.json").at("quantization_config");
    const std::string type = q.at("bnb_4bit_quant_type").get<std::string>();
    all.emplace_back(path, q.at("load_in_8bit").get<bool>() ? Format::int8 : *format_named(type));
  }
  return all;
}

TEST(Quantize, AModelThatTransformersQuantizedIsSavedUnchanged) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/serialization");
  const Device device = Device::cpu(2);
  const auto models = shared_models(folder);
  EXPECT_FALSE(models.empty());
  for (const auto& [path, format] : models) {
    SCOPED_TRACE(path);
    TemporaryFolder out;
    QuantizeOptions options;
    options.plan = plan_of(format);
    const QuantizeReport report = quantize_model(device, path, out / "q", options);
    EXPECT_FALSE(report.matrices.empty());
    expect_same(tensors_of(path), tensors_of(out / "q"));
    EXPECT_EQ(read_json(path + "/config.json"), read_json(out / "q/config.json"));
  }
}

TEST(Quantize, TheDenseModelGetsTheCodesThatTransformersGaveIt) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/serialization");
  const Device device = Device::cpu(2);
  for (const auto& [path, format] : shared_models(folder)) {
    SCOPED_TRACE(path);
    TemporaryFolder out;
    QuantizeOptions options;
    options.plan = plan_of(format);
    quantize_model(device, folder + "/tiny_dense", out / "q", options);
    const Tensors theirs = tensors_of(path), ours = tensors_of(out / "q");
    EXPECT_EQ(theirs.size(), ours.size());
    int64_t wrong = 0, all = 0;
    for (const auto& [name, tensor] : theirs) {
      ASSERT_EQ(ours.count(name), 1U) << name;
      const Tensor& own = ours.at(name);
      EXPECT_EQ(own.dtype(), tensor.dtype()) << name;
      EXPECT_EQ(own.shape(), tensor.shape()) << name;
      // Scales' codes differ where bitsandbytes' 8-bit quantizer is wrong, and the text with them.
      if (tensor.dtype() != DType::u8 && tensor.dtype() != DType::i8) continue;
      if (!ends_with(name, "weight")) continue;
      for (int64_t i = 0; i < tensor.bytes(); ++i)
        wrong += tensor.data<char>()[i] != own.data<char>()[i];
      all += tensor.bytes();
    }
    EXPECT_EQ(wrong, 0) << "of " << all << " bytes";
    EXPECT_EQ(read_json(path + "/config.json").at("quantization_config").at("load_in_4bit"),
              read_json(out / "q/config.json").at("quantization_config").at("load_in_4bit"));
  }
}

TEST(Quantize, AQuantizedModelComputesFromItsOwnBytes) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/serialization");
  const Device device = Device::cpu(2);
  const TensorFiles golden = TensorFiles::open_file(folder + "/tiny_logits.safetensors");
  const Json list = read_json(folder + "/tiny.json");
  const auto ids = list.at("tokens").get<std::vector<int32_t>>();
  for (const auto& [path, format] : shared_models(folder)) {
    SCOPED_TRACE(path);
    Model model = load_model(device, path, testing::in_f32());
    EXPECT_TRUE(model.prequantized);
    ASSERT_TRUE(model.quant);
    EXPECT_EQ(model.quant->format, format);
    const std::optional<double> threshold =
        rule_of(format).rows ? std::optional<double>(6.0) : std::nullopt;
    EXPECT_EQ(model.quant->outlier_threshold, threshold);
    const auto rounded = testing::logits_of(device, model, ids);
    // The vectors decode in fp32 and keep it: no rounding to the state's dtype, no int8 inputs.
    for (Linear* linear : model.decoder->linears()) {
      Weight w = *linear->weight();
      w.value_dtype = DType::f32;
      w.outlier_threshold.reset();
      *linear = Linear(linear->path(), std::make_shared<Weight>(std::move(w)));
    }
    const std::string name = base_name(path);
    const auto want = testing::read_values(golden, name + ".fp64_dequantized");
    EXPECT_LE(testing::largest_difference(testing::logits_of(device, model, ids), want), 5e-5);
    const double theirs = list.at(name).at("max_abs_bf16_train_mode_vs_fp64").get<double>();
    EXPECT_LE(testing::largest_difference(rounded, want), 2 * theirs);
  }
}

class QuantizeTiny : public ::testing::Test {
 protected:
  void make(const std::string& more = "") {
    write_text(folder_ / "config.json", testing::tiny_config(more));
    make_model(device_, folder_ / "config.json", folder_ / "m", 5);
  }
  void make_untied() {
    std::string config = testing::tiny_config();
    const std::string tied = R"("tie_word_embeddings":true)";
    config.replace(config.find(tied), tied.size(), R"("tie_word_embeddings":false)");
    write_text(folder_ / "config.json", config);
    make_model(device_, folder_ / "config.json", folder_ / "m", 5);
  }
  QuantPlan rules(const std::vector<std::pair<std::string, Format>>& all) {
    QuantPlan plan;
    for (const auto& [match, format] : all) {
      QuantSpec spec;
      spec.format = format;
      plan.modules.push_back({match, spec, {"test"}});
    }
    return plan;
  }
  std::vector<double> logits(const std::string& name, const QuantPlan& plan = {}) {
    LoadOptions options = testing::in_f32();
    options.quant = plan;
    return testing::logits_of(device_, load_model(device_, folder_ / name, options), ids_);
  }
  std::string complaint(const std::string& name) {
    try {
      (void)load_model(device_, folder_ / name, testing::in_f32());
    } catch (const UserError& e) {
      return cat(e.what(), " ", e.hint());
    } catch (const UserErrors& e) {
      return e.what();
    }
    return "";
  }
  void quantize_to(const std::string& name, const QuantPlan& plan, DType storage = DType::u8) {
    QuantizeOptions options;
    options.plan = plan;
    options.storage = storage;
    report_ = quantize_model(device_, folder_ / "m", folder_ / name, options);
  }
  TemporaryFolder folder_;
  Device device_ = Device::cpu(2);
  const std::vector<int32_t> ids_{1, 5, 9, 33, 77, 4, 8, 2};
  QuantizeReport report_;
};

TEST_F(QuantizeTiny, OnDiskAndWhileLoadingGiveTheSameBits) {
  make_untied();
  for (const Format format : {Format::nf4, Format::fp4, Format::int8}) {
    QuantPlan plan = plan_of(format);
    for (const bool nested : {true, false}) {
      plan.linears->double_quant = nested;
      const std::string name = cat(name_of(format), nested);
      quantize_to(name, plan);
      EXPECT_EQ(logits(name), logits("m", plan)) << name;
    }
  }
}

TEST_F(QuantizeTiny, QuantizedTablesComputeWithTheirDecodedRows) {
  for (const bool tied : {true, false}) {
    tied ? make() : make_untied();
    for (const Format format : {Format::nf4, Format::int8, Format::bf16}) {
      const QuantPlan plan = rules({{"embed_tokens", format}, {"lm_head", format}});
      const std::string q = cat("q", tied, name_of(format)), back = q + "-back";
      quantize_to(q, plan);
      QuantizeOptions options;
      options.back = DType::f32;
      quantize_model(device_, folder_ / q, folder_ / back, options);
      EXPECT_EQ(logits(q), logits("m", plan)) << q;
      EXPECT_LE(testing::largest_difference(logits(q), logits(back)), 1e-5) << q;
      EXPECT_NE(logits(q), logits("m")) << q;
    }
    std::filesystem::remove_all(folder_ / "m");
  }
}

TEST_F(QuantizeTiny, EveryStorageDtypeIsReadBack) {
  make();
  quantize_to("u8", plan_of(Format::nf4));
  for (const DType storage : {DType::bf16, DType::f16, DType::f32}) {
    const std::string name = name_of(storage);
    quantize_to(name, plan_of(Format::nf4), storage);
    EXPECT_EQ(tensors_of(folder_ / name).at("model.layers.0.mlp.up_proj.weight").dtype(), storage);
    EXPECT_EQ(logits(name), logits("u8")) << name;
    EXPECT_EQ(read_json(folder_ /
                        (name + "/config.json"))["quantization_config"]["bnb_4bit_quant_storage"],
              torch_name(storage));
  }
}

TEST_F(QuantizeTiny, GoingBackGivesTheDecodedValues) {
  make();
  quantize_to("q", plan_of(Format::nf4));
  QuantizeOptions options;
  options.back = DType::f32;
  const QuantizeReport report = quantize_model(device_, folder_ / "q", folder_ / "b", options);
  EXPECT_EQ(report.decoded, 14);
  EXPECT_EQ(logits("b"), logits("q"));
  EXPECT_FALSE(read_json(folder_ / "b/config.json").contains("quantization_config"));
}

TEST_F(QuantizeTiny, ModulesLeftPlainAreNamedInTheConfig) {
  make_untied();
  QuantPlan plan = plan_of(Format::nf4);
  plan.modules.push_back({"model.layers.1.mlp.down_proj", std::nullopt, {"test"}});
  quantize_to("q", plan);
  const Json skip =
      read_json(folder_ / "q/config.json")["quantization_config"]["llm_int8_skip_modules"];
  EXPECT_EQ(skip, Json::array({"model.layers.1.mlp.down_proj", "lm_head"}));
  EXPECT_EQ(logits("q"), logits("m", plan));
  quantize_to("usual", plan_of(Format::nf4));
  EXPECT_TRUE(
      read_json(folder_ / "usual/config.json")["quantization_config"]["llm_int8_skip_modules"]
          .is_null());
}

TEST_F(QuantizeTiny, CodesThatTransformersDoesNotReadAreNotedAndReadHere) {
  make();
  quantize_to("q", plan_of(Format::int4));
  ASSERT_EQ(report_.notes.size(), 1U);
  EXPECT_NE(report_.notes[0].find("int4"), std::string::npos) << report_.notes[0];
  EXPECT_EQ(logits("q"), logits("m", plan_of(Format::int4)));
  quantize_to("usual", plan_of(Format::nf4));
  EXPECT_TRUE(report_.notes.empty());
}

TEST_F(QuantizeTiny, CodesOfCodesAreRefused) {
  make();
  quantize_to("q", plan_of(Format::nf4));
  QuantizeOptions options;
  options.plan = plan_of(Format::int8);
  try {
    quantize_model(device_, folder_ / "q", folder_ / "twice", options);
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("is nf4 already and int8"), std::string::npos) << e.what();
    EXPECT_FALSE(exists(folder_ / "twice"));
  }
}

TEST_F(QuantizeTiny, TheReportOfAFileIsTheReportOfItsMaking) {
  make();
  quantize_to("q", plan_of(Format::fp4));
  const auto read = quantized_matrices(device_, folder_ / "q", folder_ / "m");
  ASSERT_EQ(read.size(), report_.matrices.size());
  for (const QuantizedMatrix& made : report_.matrices) {
    const auto same =
        std::find_if(read.begin(), read.end(), [&](const auto& m) { return m.name == made.name; });
    ASSERT_NE(same, read.end()) << made.name;
    EXPECT_EQ(same->report.relative_error, made.report.relative_error);
    EXPECT_EQ(same->report.absmax_high, made.report.absmax_high);
    EXPECT_EQ(same->report.worst_block, made.report.worst_block);
    EXPECT_GT(same->report.snr_db, 10);
  }
  EXPECT_FALSE(quantized_matrices(device_, folder_ / "q", "").at(0).report.measured);
}

TEST_F(QuantizeTiny, ShardsKeepTheirPartition) {
  make();
  Memory memory;
  const TensorFiles files = TensorFiles::open(folder_ / "m");
  NamedTensors halves[2];
  Json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", Json::object()}};
  size_t n = 0;
  for (const TensorInfo& info : files.tensors()) {
    const size_t half = n++ < files.tensors().size() / 2 ? 0 : 1;
    halves[half].emplace_back(info.name, files.read(info.name, memory, Purpose::staging));
    index["weight_map"][info.name] = cat("model-0000", half + 1, "-of-00002.safetensors");
  }
  std::filesystem::create_directories(folder_ / "s");
  for (const size_t half : {0, 1})
    write_safetensors(folder_ / cat("s/model-0000", half + 1, "-of-00002.safetensors"),
                      halves[half]);
  write_text(folder_ / "s/model.safetensors.index.json", index.dump());
  copy_file(folder_ / "m/config.json", folder_ / "s/config.json");
  QuantizeOptions options;
  options.plan = plan_of(Format::nf4);
  quantize_model(device_, folder_ / "s", folder_ / "sq", options);
  EXPECT_TRUE(exists(folder_ / "sq/model-00002-of-00002.safetensors"));
  quantize_to("q", options.plan);
  EXPECT_EQ(logits("sq"), logits("q"));
}

TEST_F(QuantizeTiny, SpoiltDirectoriesAreRefusedByTensor) {
  make();
  quantize_to("q", plan_of(Format::int8));
  quantize_to("n", plan_of(Format::nf4));
  const std::string up = "model.layers.0.mlp.up_proj.";
  const auto without = [&](const std::string& from, const std::string& to, const std::string& key) {
    NamedTensors rest;
    for (const auto& [name, tensor] : tensors_of(folder_ / from))
      if (name != key) rest.emplace_back(name, tensor);
    std::filesystem::create_directories(folder_ / to);
    copy_file(folder_ / (from + "/config.json"), folder_ / (to + "/config.json"));
    write_safetensors(folder_ / (to + "/model.safetensors"), rest);
  };
  without("q", "no-scb", up + "SCB");
  EXPECT_NE(complaint("no-scb").find(up + "SCB"), std::string::npos) << complaint("no-scb");
  without("n", "no-absmax", up + "weight.absmax");
  EXPECT_NE(complaint("no-absmax").find(up + "weight.absmax"), std::string::npos);
  without("n", "no-config", "");
  Json config = read_json(folder_ / "no-config/config.json");
  config.erase("quantization_config");
  write_text(folder_ / "no-config/config.json", config.dump());
  EXPECT_NE(complaint("no-config").find("quantization_config"), std::string::npos);
  LoadOptions options = testing::in_f32();
  options.train_all = true;
  EXPECT_THROW((void)load_model(device_, folder_ / "q", options), UserError);
}

TEST_F(QuantizeTiny, ARuleThatDisagreesWithTheFileIsRefused) {
  make();
  quantize_to("q", plan_of(Format::nf4));
  LoadOptions options = testing::in_f32();
  options.quant = rules({{"down_proj", Format::int8}});
  try {
    (void)load_model(device_, folder_ / "q", options);
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("is nf4 on file"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace nibble
