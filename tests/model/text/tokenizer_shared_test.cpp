// Tokenizers of published models against published and reference ids.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "model/text/tokenizer.h"
#include "tests/model/text/tokenizer_folder.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

using Ids = std::vector<int32_t>;

TEST(PublishedTokenizers, OpenLlamaRowsHaveTheirPublishedIds) {
  NIBBLE_REQUIRE_DATA(folder, "data/tokenizers/hf-json-openllama");
  const auto tokenizer = Tokenizer::load(folder);
  const Json rows =
      read_json(join_path(folder, "twitter_complaints_tokenized_with_maykeye_tinyllama_v0.json"));
  ASSERT_EQ(rows.size(), 10u);
  for (const Json& row : rows) {
    EXPECT_EQ(tokenizer->encode(row["output"].get<std::string>()), row["input_ids"].get<Ids>());
    EXPECT_EQ(tokenizer->decode(row["input_ids"].get<Ids>()), row["output"].get<std::string>());
  }
}

// Cases stand between lines of __ggml_vocab_test__; line i of the .out file is case i.
TEST(PublishedTokenizers, Gpt2CasesOfGgufVocabHaveTheirPublishedIds) {
  NIBBLE_REQUIRE_DATA(folder, "data/tokenizers/gpt2");
  NIBBLE_REQUIRE_DATA(inputs, "data/tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf.inp");
  NIBBLE_REQUIRE_DATA(outputs, "data/tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf.out");
  const auto tokenizer = Tokenizer::load(folder);
  const std::string text = read_file(inputs);
  const std::string mark = "\n__ggml_vocab_test__\n";
  const std::vector<std::string> lines = split(read_file(outputs), '\n');
  size_t at = 0, cases = 0;
  for (size_t stop; (stop = text.find(mark, at)) != std::string::npos; at = stop + mark.size()) {
    const std::string one = text.substr(at, stop - at);
    Ids expected;
    for (const std::string& number : split(std::string(trim(lines.at(cases))), ' ')) {
      if (!number.empty()) expected.push_back(std::stoi(number));
    }
    EXPECT_EQ(tokenizer->encode(one, {.add_special_tokens = false}), expected) << Json(one).dump();
    ++cases;
  }
  EXPECT_GE(cases, 40u);
}

TEST(PublishedTokenizers, Qwen2VocabAndMergesGiveTheIdsOfTheHuggingFaceLibrary) {
  NIBBLE_REQUIRE_DATA(folder, "data/tokenizers/qwen2.5");
  const auto tokenizer = Tokenizer::load(folder);
  const Json c = read_json(testing::golden_path("tokenizers/qwen.json"));
  for (size_t i = 0; i < c["texts"].size(); ++i) {
    EXPECT_EQ(tokenizer->encode(c["texts"][i].get<std::string>()), c["ids"][i].get<Ids>())
        << c["texts"][i].dump();
  }
  EXPECT_EQ(tokenizer->eos(), tokenizer->id_of("<|im_end|>"));
  EXPECT_EQ(tokenizer->bos(), std::nullopt);
  EXPECT_NE(tokenizer->chat_template().find("<|im_start|>"), std::string::npos);
}

TEST(PublishedTokenizers, MistralModelsGiveTheIdsOfSentencePiece) {
  NIBBLE_REQUIRE_DATA(shared, "data/tokenizers/mistral-spm");
  const Json c = read_json(testing::golden_path("tokenizers/mistral.json"));
  ASSERT_EQ(c["ids"].size(), 3u);
  for (const auto& [name, all] : c["ids"].items()) {
    testing::TokenizerFolder folder;
    folder.write("tokenizer.model", read_file(join_path(shared, name)));
    const auto tokenizer = Tokenizer::load(folder.path());
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(tokenizer->encode(c["texts"][i].get<std::string>(),
                                  {.add_special_tokens = false, .parse_special = false}),
                all[i].get<Ids>())
          << name << " " << c["texts"][i].dump();
    }
  }
}

TEST(PublishedTokenizers, TokenizerJsonAndTokenizerModelOfOneModelAgree) {
  NIBBLE_REQUIRE_DATA(folder, "data/models/stories260K/hf");
  testing::TokenizerFolder model_only;
  for (const char* name : {"tokenizer.model", "tokenizer_config.json"}) {
    model_only.write(name, read_file(join_path(folder, name)));
  }
  const auto json = Tokenizer::load(folder), model = Tokenizer::load(model_only.path());
  EXPECT_EQ(json->bos(), model->bos());
  EXPECT_EQ(json->eos(), model->eos());
  EXPECT_EQ(json->vocab_size(), model->vocab_size());
  for (const char* text : {"", "Once upon a time", "\xF0\x9F\x98\x80 x\ny", "<s>a</s>b", "a b"}) {
    const Ids ids = json->encode(text);
    EXPECT_EQ(model->encode(text), ids) << text;
    EXPECT_EQ(model->decode(ids), json->decode(ids)) << text;
    EXPECT_EQ(json->decode(json->encode(text, {.parse_special = false})), text);
  }
}

}  // namespace
}  // namespace nibble
