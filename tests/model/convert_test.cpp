// Conversions: what can be kept is kept bit for bit, on the way to GGUF and back.
#include "model/convert.h"

#include <cstring>

#include "model/files/gguf_model.h"
#include "model/files/gguf_rope.h"
#include "model/files/gguf_tokenizer.h"
#include "model/files/hf_directory.h"
#include "model/text/tokenizer.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

using testing::golden_path;
using testing::TemporaryFolder;

void expect_same_tensors(const std::string& a, const std::string& b) {
  const TensorFiles left = TensorFiles::open(a), right = TensorFiles::open(b);
  ASSERT_EQ(left.tensors().size(), right.tensors().size());
  Memory memory;
  for (const TensorInfo& info : left.tensors()) {
    const Tensor x = left.read(info.name, memory, Purpose::staging);
    const Tensor y = right.read(info.name, memory, Purpose::staging);
    EXPECT_STREQ(name_of(x.dtype()), name_of(y.dtype())) << info.name;
    EXPECT_EQ(x.shape(), y.shape()) << info.name;
    ASSERT_EQ(x.bytes(), y.bytes()) << info.name;
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())), 0) << info.name;
  }
}

// A directory of random weights of a family.
std::string random_model(const TemporaryFolder& folder, const Device& device,
                         const std::string& config) {
  testing::write_text(folder / "config.json", config);
  make_model(device, folder / "config.json", folder / "hf", 3);
  return folder / "hf";
}

std::string family_config(const std::string& type, const std::string& more) {
  const char* groups = type == "gpt_neox" ? "" : R"("num_key_value_heads":2,)";
  return R"({"model_type":")" + type +
         R"(","hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,)"
         R"("num_attention_heads":4,)" +
         groups +
         R"("vocab_size":96,)"
         R"("max_position_embeddings":128,"bos_token_id":1,"eos_token_id":2,)"
         R"("initializer_range":0.2)" +
         more + "}";
}

struct Case {
  const char* type;
  const char* more;
};
const Case kFamilies[] = {
    {"llama", R"(,"rms_norm_eps":1e-05,"rope_theta":50000.0,"torch_dtype":"bfloat16")"},
    {"llama", R"(,"rms_norm_eps":1e-06,"head_dim":24,"attention_bias":true,"mlp_bias":true,)"
              R"("tie_word_embeddings":true,"torch_dtype":"float16")"},
    {"llama", R"(,"rms_norm_eps":1e-05,"rope_theta":500000.0,"torch_dtype":"bfloat16",)"
              R"("rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,)"
              R"("high_freq_factor":4.0,"original_max_position_embeddings":64})"},
    {"qwen2", R"(,"rms_norm_eps":1e-06,"torch_dtype":"bfloat16")"},
    {"qwen3", R"(,"rms_norm_eps":1e-06,"head_dim":16,"torch_dtype":"float32")"},
    {"gemma", R"(,"rms_norm_eps":1e-06,"head_dim":16,"torch_dtype":"bfloat16")"},
    {"gemma2", R"(,"rms_norm_eps":1e-06,"head_dim":16,"query_pre_attn_scalar":16,)"
               R"("sliding_window":32,"attn_logit_softcapping":50.0,)"
               R"("final_logit_softcapping":30.0,"torch_dtype":"bfloat16")"},
    {"gemma3_text", R"(,"rms_norm_eps":1e-06,"head_dim":16,"query_pre_attn_scalar":16,)"
                    R"("sliding_window":32,"rope_theta":1000000.0,"torch_dtype":"bfloat16")"},
    {"phi", R"(,"layer_norm_eps":1e-05,"partial_rotary_factor":0.5,"hidden_act":"gelu_new",)"
            R"("torch_dtype":"float16")"},
    {"phi3", R"(,"rms_norm_eps":1e-05,"torch_dtype":"bfloat16","sliding_window":null)"},
    {"olmo2", R"(,"rms_norm_eps":1e-06,"torch_dtype":"bfloat16")"},
    {"granite", R"(,"rms_norm_eps":1e-06,"embedding_multiplier":12.0,"residual_multiplier":0.25,)"
                R"("attention_multiplier":0.0625,"logits_scaling":8.0,"torch_dtype":"bfloat16")"},
    {"glm4", R"(,"rms_norm_eps":1e-05,"head_dim":16,"partial_rotary_factor":0.5,)"
             R"("attention_bias":true,"torch_dtype":"bfloat16")"},
    {"smollm3", R"(,"rms_norm_eps":1e-06,"rope_theta":5000000.0,"torch_dtype":"bfloat16")"},
    {"cohere", R"(,"layer_norm_eps":1e-05,"logit_scale":0.25,"torch_dtype":"float16")"},
    {"stablelm", R"(,"layer_norm_eps":1e-05,"partial_rotary_factor":0.25,"use_qkv_bias":true,)"
                 R"("torch_dtype":"bfloat16")"},
    {"starcoder2", R"(,"norm_epsilon":1e-05,"use_bias":true,"sliding_window":null,)"
                   R"("hidden_act":"gelu_pytorch_tanh","torch_dtype":"bfloat16")"},
    {"gpt_neox", R"(,"layer_norm_eps":1e-05,"rotary_pct":0.25,"hidden_act":"gelu",)"
                 R"("torch_dtype":"float16")"},
};

// There and back, bit for bit; and the GGUF file itself computes what the directory does.
void expect_round_trip(const Device& device, const std::string& hf, const TemporaryFolder& folder) {
  const std::string gguf = folder / "x.gguf", back = folder / "back";
  const ConvertReport to = convert_to_gguf(device, hf, gguf, {});
  EXPECT_TRUE(to.notes.empty());
  convert_to_directory(device, gguf, back, {});
  expect_same_tensors(hf, back);
  const std::vector<int32_t> ids = {1, 17, 90, 4, 4, 33, 61, 2, 8, 70};
  const auto want = testing::logits_of(device, load_model(device, hf, testing::in_f32()), ids);
  for (const std::string& place : {gguf, back}) {
    const auto got = testing::logits_of(device, load_model(device, place, testing::in_f32()), ids);
    EXPECT_EQ(testing::largest_difference(got, want), 0) << place;
  }
}

TEST(Convert, EveryFamilyComesBackBitForBitAndComputesTheSame) {
  const Device device = Device::cpu(1);
  for (const Case& c : kFamilies) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, cat(c.type, c.more));
    const TemporaryFolder folder;
    try {
      expect_round_trip(device, random_model(folder, device, family_config(c.type, c.more)),
                        folder);
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

TEST(Convert, Gpt2AndFalconComeBackBitForBit) {
  const Device device = Device::cpu(1);
  const char* const configs[] = {
      R"({"model_type":"gpt2","vocab_size":96,"n_embd":64,"n_layer":2,"n_head":4,"n_inner":96,)"
      R"("n_positions":64,"layer_norm_epsilon":1e-05,"activation_function":"gelu_new",)"
      R"("initializer_range":0.2,"torch_dtype":"float32"})",
      R"({"model_type":"falcon","vocab_size":96,"hidden_size":64,"num_hidden_layers":2,)"
      R"("num_attention_heads":4,"multi_query":true,"new_decoder_architecture":false,)"
      R"("ffn_hidden_size":96,"max_position_embeddings":128,"layer_norm_epsilon":1e-05,)"
      R"("parallel_attn":true,"bias":false,"alibi":false,"initializer_range":0.2,)"
      R"("torch_dtype":"bfloat16"})"};
  for (const char* config : configs) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, config);
    const TemporaryFolder folder;
    try {
      expect_round_trip(device, random_model(folder, device, config), folder);
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

TEST(Convert, BlocksAreThoseOfTheReferenceEncoder) {
  const TemporaryFolder folder;
  const Device device = Device::cpu(1);
  // The reference made its Q8_0 file from these values before they were halved to f16: what the
  // f16 file holds is made again here and compared through the decoder.
  ToGguf options;
  options.type = find_gguf_type("Q8_0");
  convert_to_gguf(device, golden_path("models/gguf/tiny-F16.gguf"), folder / "q8.gguf", options);
  const GgufModel made(folder / "q8.gguf"), given(golden_path("models/gguf/tiny-F16.gguf"));
  Memory memory;
  const TensorFiles files = TensorFiles::open(folder / "q8.gguf");
  for (const TensorInfo& info : files.tensors()) {
    if (info.shape.size() != 2) continue;
    EXPECT_EQ(info.dtype_name, "Q8_0");
    const auto got = testing::values(made.read(info.name, memory, Purpose::staging));
    Tensor plain = given.read(info.name, memory, Purpose::staging);
    const Weight want = quantize(device, plain, QuantSpec{Format::q8_0}, info.name);
    EXPECT_EQ(got, testing::values(dequantize(device, want, DType::f32))) << info.name;
  }
  // Their logits differ by what eight bits cost, and no more.
  const std::vector<int32_t> ids = {1, 5, 9, 30};
  const auto a =
      testing::logits_of(device, load_model(device, folder / "q8.gguf", testing::in_f32()), ids);
  const auto b =
      testing::logits_of(device, load_model(device, given.path(), testing::in_f32()), ids);
  EXPECT_LT(testing::relative_norm(a, b), 0.05);
}

TEST(Convert, QuantizedFilesBecomeExactFloats) {
  const TemporaryFolder folder;
  const Device device = Device::cpu(1);
  const std::string gguf = golden_path("models/gguf/tiny-Q4_0.gguf");
  convert_to_directory(device, gguf, folder / "hf", {});
  expect_same_tensors(gguf, folder / "hf");  // blocks are compared by their values
  const std::vector<int32_t> ids = {1, 5, 9, 30};
  const auto a = testing::logits_of(device, load_model(device, gguf, testing::in_f32()), ids);
  const auto b =
      testing::logits_of(device, load_model(device, folder / "hf", testing::in_f32()), ids);
  EXPECT_EQ(a, b);
}

TEST(Convert, BlocksAreNeverMadeOfBlocks) {
  const TemporaryFolder folder;
  const Device device = Device::cpu(1);
  ToGguf options;
  options.type = find_gguf_type("Q8_0");
  try {
    convert_to_gguf(device, golden_path("models/gguf/tiny-Q4_0.gguf"), folder / "x.gguf", options);
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("Q4_0 already"), std::string::npos) << e.what();
  }
  EXPECT_FALSE(exists(folder / "x.gguf"));
}

const char* const kTexts[] = {
    "Hello, world! It's 3.14159 or 1234567; they'll DON'T stop.", "  two  spaces\n\nand\ttabs \n ",
    "Größe Привет שלום 你好，世界！ 안녕하세요 👍🏽",
    "def f(x):\n    return x**2  # %s", ""};

// The tokenizer of a directory as a GGUF file without weights, and that file as files again.
void expect_same_ids(const std::string& directory, bool own_json) {
  const TemporaryFolder folder;
  const auto hf = Tokenizer::load(directory);
  GgufMetadata metadata;
  add_gguf_tokenizer(directory, Json::object(), hf->vocab_size() + 5, metadata);
  if (!own_json)
    std::erase_if(metadata, [](const auto& m) { return m.first == "tokenizer.huggingface.json"; });
  GgufWriter writer(folder / "t.gguf", metadata, {});
  writer.commit();
  std::filesystem::create_directory(folder / "back");
  for (const auto& [name, bytes] : tokenizer_files(parse_gguf(InputFile(folder / "t.gguf"))))
    testing::write_text(folder / ("back/" + name), bytes);
  for (const std::string& place : {folder / "t.gguf", folder / "back"}) {
    const auto other = Tokenizer::load(place);
    for (const char* text : kTexts) {
      EXPECT_EQ(other->encode(text), hf->encode(text)) << directory << " " << place << " " << text;
      const auto ids = hf->encode(text);
      EXPECT_EQ(other->decode(ids), hf->decode(ids)) << directory << " " << place << " " << text;
    }
    // Where the keys are silent, readers of GGUF take ids of their own.
    EXPECT_EQ(hf->bos() ? other->bos() : hf->bos(), hf->bos());
    EXPECT_EQ(hf->eos() ? other->eos() : hf->eos(), hf->eos());
    EXPECT_EQ(other->chat_template(), hf->chat_template());
  }
}

TEST(Convert, TheTokenizerGivesTheSameIdsOnBothSides) {
  expect_same_ids(testing::source_path("examples/quickstart/base"), true);
  expect_same_ids(testing::source_path("examples/quickstart/base"), false);
}

TEST(Convert, PublishedTokenizersGiveTheSameIdsOnBothSides) {
  NIBBLE_REQUIRE_DATA(tokenizers, "data/tokenizers");
  for (const char* name : {"hf-json-openllama", "gpt2", "qwen2.5"})
    expect_same_ids(cat(tokenizers, "/", name), false);
}

TEST(GgufRope, Llama3FactorsAreFoundAgain) {
  const std::vector<float> f = llama3_factors(500000, 128, 32, 1, 4, 8192);
  ASSERT_EQ(f.size(), 64u);
  EXPECT_EQ(f[0], 1);
  EXPECT_EQ(f[63], 32);
}

}  // namespace
}  // namespace nibble
