// Runs that add tokens: what is trained, what is written, what a merge makes of it.
#include "trainer/added_tokens.h"

#include "model/files/peft_tokens.h"
#include "model/merge.h"
#include "model/text/tokenizer.h"
#include "tests/support/model_data.h"
#include "trainer/checkpoints.h"
#include "trainer/run.h"

namespace nibble {
namespace {

using testing::read_values;
using testing::TemporaryFolder;
using testing::write_text;
using Overrides = std::vector<std::pair<std::string, std::string>>;

// Letters, a space and three special tokens: 30 ids.
std::string letters_tokenizer() {
  std::string vocab = R"("<unk>":0,"<s>":1,"</s>":2)";
  for (char c = 'a'; c <= 'z'; ++c) vocab += cat(",\"", std::string(1, c), "\":", 3 + (c - 'a'));
  vocab += ",\"\xC4\xA0\":29";
  std::string added;
  const char* const kSpecial[] = {"<unk>", "<s>", "</s>"};
  for (int i = 0; i < 3; ++i)
    added += cat(i ? "," : "", R"({"id":)", i, R"(,"content":")", kSpecial[i],
                 R"(","single_word":false,"lstrip":false,"rstrip":false,)",
                 R"("normalized":false,"special":true})");
  return cat(R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)", added,
             R"(],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,)",
             R"("trim_offsets":true,"use_regex":true},"post_processor":null,)",
             R"("decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,)",
             R"("use_regex":true},"model":{"type":"BPE","dropout":null,"unk_token":null,)",
             R"("continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,)",
             R"("byte_fallback":false,"ignore_merges":false,"vocab":{)", vocab,
             R"(},"merges":[]}})");
}

class AddedTokensTest : public ::testing::Test {
 protected:
  // `vocab` rows in the embedding; the tokenizer has 30 ids.
  void make_base(int64_t vocab, bool tied) {
    std::string config = testing::tiny_config();
    const auto put = [&](const std::string& from, const std::string& to) {
      config.replace(config.find(from), from.size(), to);
    };
    put(R"("vocab_size":96)", cat(R"("vocab_size":)", vocab));
    if (!tied) put(R"("tie_word_embeddings":true)", R"("tie_word_embeddings":false)");
    write_text(folder_ / "config.json", config);
    make_model(Device::cpu(1), folder_ / "config.json", folder_ / "base", 5);
    write_text(folder_ / "base/tokenizer.json", letters_tokenizer());
    write_text(folder_ / "base/tokenizer_config.json",
               R"({"tokenizer_class":"PreTrainedTokenizerFast","bos_token":"<s>",)"
               R"("eos_token":"</s>","unk_token":"<unk>"})");
    std::string rows;
    for (int i = 0; i < 12; ++i)
      rows += cat("{\"text\":\"<|a|> ab", std::string(1, static_cast<char>('c' + i)),
                  i % 3 == 0 ? " <|b|> hello" : " you", "\"}\n");
    write_text(folder_ / "rows.jsonl", rows);
  }
  std::string recipe(const std::string& more) {
    write_text(folder_ / "recipe.yaml",
               cat("base_model: ", folder_ / "base", "\ndatasets: [{path: ", folder_ / "rows.jsonl",
                   ", type: completion}]\nmicro_batch_size: 2\ngradient_accumulation_steps: 2\n",
                   "num_epochs: 2\nlearning_rate: 1e-2\noptimizer: adamw_8bit\nseed: 7\n", more));
    return folder_ / "recipe.yaml";
  }
  RunReport run(const std::string& out, Overrides more = {}) {
    more.emplace_back("output_dir", folder_ / out);
    return train(folder_ / "recipe.yaml", more);
  }
  TensorFiles adapter(const std::string& out) {
    return TensorFiles::open_file(folder_ / (out + "/adapter_model.safetensors"));
  }
  std::string bytes(const std::string& out) {
    return read_file(folder_ / (out + "/adapter_model.safetensors"));
  }
  TemporaryFolder folder_;
};

const std::string kAdapter = "adapter: qlora\nlora_r: 4\nlora_alpha: 8\nlora_dropout: 0.1\n";
const std::string kTokens =
    "tokens: [\"<|a|>\", \"<|b|>\"]\nspecial_tokens: {pad_token: \"<pad>\", eos_token: "
    "\"<|b|>\"}\n";
const std::string kEmbedding = "base_model.model.model.embed_tokens";
const std::string kHead = "base_model.model.lm_head";
const std::string kDelta = ".token_adapter.trainable_tokens_delta";

TEST_F(AddedTokensTest, GrowTheVocabularyTrainTheirRowsAndTravelWithTheAdapter) {
  for (const bool tied : {true, false}) {
    std::filesystem::remove_all(folder_ / "base");
    make_base(30, tied);
    recipe(kAdapter + kTokens);
    const std::string out = tied ? "tied" : "untied";
    run(out);
    const TensorFiles files = adapter(out);
    const Json config = read_json(folder_ / (out + "/adapter_config.json"));
    const std::vector<int64_t> ids{30, 31, 32};
    if (tied)
      EXPECT_EQ(config["trainable_token_indices"], Json(ids));
    else
      EXPECT_EQ(config["trainable_token_indices"], Json({{"embed_tokens", ids}, {"lm_head", ids}}));
    EXPECT_EQ(files.get(kEmbedding + kDelta).shape, (std::vector<int64_t>{3, 64}));
    EXPECT_EQ(files.find(kHead + kDelta) != nullptr, !tied);
    const auto whole = read_values(files, kEmbedding + ".token_adapter.base_layer.weight");
    ASSERT_EQ(whole.size(), 33U * 64);
    // The rows began as those under them and moved.
    const auto rows = read_values(files, kEmbedding + kDelta);
    for (size_t r = 0; r < 2; ++r)
      EXPECT_GT(
          testing::relative_norm({rows.begin() + 64 * r, rows.begin() + 64 * (r + 1)},
                                 {whole.begin() + 64 * (30 + r), whole.begin() + 64 * (31 + r)}),
          1e-3);
    const auto tokenizer = Tokenizer::load(folder_ / out);
    EXPECT_EQ(tokenizer->id_of("<|a|>"), 30);
    EXPECT_EQ(tokenizer->eos(), 31);
    EXPECT_EQ(tokenizer->pad(), 32);
    EXPECT_EQ(tokenizer->encode("a<|a|>b"), (std::vector<int32_t>{3, 30, 4}));

    const std::string merged = folder_ / (out + "-merged");
    const Device device = Device::cpu(1);
    merge(device, folder_ / "base", folder_ / out, merged, {{}, DType::f32});
    const Json after = read_json(merged + "/config.json");
    EXPECT_EQ(after["vocab_size"], 33);
    EXPECT_EQ(after["eos_token_id"], 31);
    EXPECT_EQ(Tokenizer::load(merged)->id_of("<|b|>"), 31);
    const TensorFiles weights = TensorFiles::open(merged);
    const auto table = read_values(weights, "model.embed_tokens.weight");
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), table.begin() + 30 * 64));
    if (!tied) {
      EXPECT_EQ(weights.get("lm_head.weight").shape, (std::vector<int64_t>{33, 64}));
    }
  }
}

TEST_F(AddedTokensTest, NeedNoGrowthWhereTheEmbeddingIsPadded) {
  make_base(40, true);
  recipe(kAdapter + kTokens);
  run("out", {{"max_steps", "1"}});
  EXPECT_EQ(adapter_vocab(folder_ / "out"), 0);
  EXPECT_EQ(adapter("out").get(kEmbedding + kDelta).shape, (std::vector<int64_t>{3, 64}));
  EXPECT_EQ(adapter("out").find(kEmbedding + ".token_adapter.base_layer.weight"), nullptr);
  merge(Device::cpu(1), folder_ / "base", folder_ / "out", folder_ / "merged", {});
  EXPECT_EQ(read_json(folder_ / "merged/config.json")["vocab_size"], 40);
}

TEST_F(AddedTokensTest, ResumeWithTheSameBytesOnAnyThreads) {
  make_base(30, false);
  recipe(kAdapter + kTokens);
  const Overrides saving{{"save_steps", "1"}, {"save_total_limit", "0"}};
  const RunReport report = run("whole", saving);
  run("threads", {{"threads", "3"}, {"gradient_checkpointing", "every_layer"}});
  EXPECT_EQ(bytes("whole"), bytes("threads"));
  for (int64_t step = 1; step < report.steps; step += 2) {
    std::filesystem::remove_all(folder_ / "part");
    std::filesystem::create_directories(folder_ / "part");
    std::filesystem::copy(folder_ / cat("whole/", checkpoint_name(step)),
                          folder_ / cat("part/", checkpoint_name(step)));
    run("part", {{"resume_from_checkpoint", "auto"}});
    EXPECT_EQ(bytes("whole"), bytes("part")) << "from step " << step;
  }
}

TEST_F(AddedTokensTest, TrainInFullToo) {
  make_base(30, true);
  recipe("adapter: full\n" + kTokens);
  run("out", {{"max_steps", "2"}});
  const Json config = read_json(folder_ / "out/config.json");
  EXPECT_EQ(config["vocab_size"], 33);
  EXPECT_EQ(config["eos_token_id"], 31);
  EXPECT_EQ(Tokenizer::load(folder_ / "out")->id_of("<|a|>"), 30);
  const Device device = Device::cpu(1);
  const Model model = load_model(device, folder_ / "out", testing::in_f32());
  EXPECT_EQ(model.decoder->blueprint().vocab, 33);
}

TEST_F(AddedTokensTest, GoOnFromTheAdapterThatAddedThem) {
  make_base(30, false);
  recipe(kAdapter + kTokens);
  run("first", {{"max_steps", "2"}});
  recipe("adapter: qlora\nlora_model_dir: " + (folder_ / "first") + "\n" + kTokens);
  run("second", {{"max_steps", "2"}});
  EXPECT_EQ(Tokenizer::load(folder_ / "second")->id_of("<|a|>"), 30);
  EXPECT_EQ(adapter("second").get(kEmbedding + kDelta).shape, (std::vector<int64_t>{3, 64}));
  EXPECT_NE(bytes("first"), bytes("second"));
  recipe("adapter: qlora\nlora_model_dir: " + (folder_ / "first") + "\ntokens: [\"<|c|>\"]\n");
  EXPECT_THROW(run("third", {{"max_steps", "2"}}), UserError);
}

TEST_F(AddedTokensTest, WholeTablesTrainBesideAnAdapter) {
  make_base(30, false);
  recipe(kAdapter + kTokens + "lora_modules_to_save: [embed_tokens, lm_head]\n");
  run("out", {{"max_steps", "2"}});
  const TensorFiles files = adapter("out");
  EXPECT_EQ(files.find(kEmbedding + kDelta), nullptr);
  EXPECT_EQ(files.get(kEmbedding + ".weight").shape, (std::vector<int64_t>{33, 64}));
  EXPECT_EQ(files.get(kHead + ".weight").shape, (std::vector<int64_t>{33, 64}));
  merge(Device::cpu(1), folder_ / "base", folder_ / "out", folder_ / "merged", {{}, DType::f32});
  EXPECT_EQ(read_values(TensorFiles::open(folder_ / "merged"), "lm_head.weight"),
            read_values(files, kHead + ".weight"));
}

TEST_F(AddedTokensTest, TokensThatAreThereStayAsTheyAre) {
  make_base(30, true);
  recipe(kAdapter + "tokens: [a, \"<|n|>\", a]\nspecial_tokens: {eos_token: </s>}\n");
  Recipe read;
  Settings settings;
  read.read(folder_ / "recipe.yaml", {{"output_dir", "o"}}, settings);
  const AddedTokens added = add_tokens(read, folder_ / "base", 30);
  EXPECT_EQ(added.ids, std::vector<int64_t>{30});
  EXPECT_EQ(added.vocab, 31);
  EXPECT_EQ(added.tokenizer->id_of("a"), 3);
  ASSERT_EQ(added.change.tokens.size(), 1U);
  EXPECT_TRUE(added.change.roles.empty());
}

TEST_F(AddedTokensTest, MistakesHaveTheirPlace) {
  make_base(30, true);
  recipe(kAdapter + "trainable_token_indices: [3, 30]\n");
  try {
    run("out");
    ADD_FAILURE();
  } catch (const UserErrors& e) {
    EXPECT_NE(std::string(e.what()).find("recipe.yaml:13:30"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("30"), std::string::npos) << e.what();
  }
  recipe(kAdapter + "special_tokens: {eos: </s>}\n");
  try {
    run("out");
    ADD_FAILURE();
  } catch (const UserErrors& e) {
    EXPECT_NE(std::string(e.what()).find("recipe.yaml:13:18"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("eos_token"), std::string::npos) << e.what();
  }
  std::filesystem::remove(folder_ / "base/tokenizer.json");
  recipe(kAdapter + "tokens: [x]\n");
  EXPECT_THROW(run("out"), UserError);
}

}  // namespace
}  // namespace nibble
