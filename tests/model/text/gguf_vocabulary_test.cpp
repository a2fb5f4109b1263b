// Vocabularies as GGUF files hold them, against llama.cpp's published cases and SentencePiece.
#include "model/text/gguf_vocabulary.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "model/text/sentencepiece.h"
#include "model/text/tokenizer.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

using text::GgufVocabulary;
using Ids = std::vector<int32_t>;

GgufVocabulary gpt2_vocabulary(const std::string& folder) {
  GgufVocabulary v;
  v.file = "gpt2.gguf";
  v.model = "gpt2";
  v.pre = "gpt-2";
  const Json vocab = read_json(join_path(folder, "vocab.json"));
  v.tokens.resize(vocab.size());
  for (const auto& [token, id] : vocab.items()) v.tokens.at(id.get<size_t>()) = token;
  for (const std::string& line : split(read_file(join_path(folder, "merges.txt")), '\n')) {
    if (!line.empty() && !starts_with(line, "#version")) v.merges.push_back(line);
  }
  return v;
}

GgufVocabulary spm_vocabulary(const std::string& bytes) {
  const text::SpmFile file = text::parse_spm(bytes, "tokenizer.model");
  GgufVocabulary v;
  v.file = "spm.gguf";
  v.model = "llama";
  for (const text::SpmPiece& piece : file.pieces) {
    v.tokens.push_back(piece.text);
    v.scores.push_back(piece.score);
    v.token_types.push_back(static_cast<int32_t>(piece.type));
  }
  return v;
}

GgufVocabulary letters() {
  GgufVocabulary v;
  v.file = "letters.gguf";
  v.model = "gpt2";
  v.pre = "gpt-2";
  v.tokens = {"a", "b", "ab"};
  v.merges = {"a b"};
  return v;
}

TEST(GgufVocabulary, Gpt2CasesHaveThePublishedIds) {
  NIBBLE_REQUIRE_DATA(folder, "data/tokenizers/gpt2");
  NIBBLE_REQUIRE_DATA(inputs, "data/tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf.inp");
  NIBBLE_REQUIRE_DATA(outputs, "data/tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf.out");
  const auto tokenizer = Tokenizer::from_gguf(gpt2_vocabulary(folder));
  const std::string text = read_file(inputs);
  const std::string mark = "\n__ggml_vocab_test__\n";
  const std::vector<std::string> lines = split(read_file(outputs), '\n');
  size_t at = 0, cases = 0;
  for (size_t stop; (stop = text.find(mark, at)) != std::string::npos; at = stop + mark.size()) {
    Ids expected;
    for (const std::string& number : split(std::string(trim(lines.at(cases))), ' ')) {
      if (!number.empty()) expected.push_back(std::stoi(number));
    }
    const std::string one = text.substr(at, stop - at);
    EXPECT_EQ(tokenizer->encode(one), expected) << Json(one).dump();
    EXPECT_EQ(tokenizer->decode(expected), one);
    ++cases;
  }
  EXPECT_GE(cases, 40u);
}

TEST(GgufVocabulary, ScoredPiecesGiveTheIdsOfSentencePiece) {
  NIBBLE_REQUIRE_DATA(shared, "data/tokenizers/mistral-spm");
  const Json c = read_json(testing::golden_path("tokenizers/mistral.json"));
  const std::string name = "tokenizer.model.v1";
  const auto tokenizer =
      Tokenizer::from_gguf(spm_vocabulary(read_file(join_path(shared, name.c_str()))));
  for (size_t i = 0; i < c["texts"].size(); ++i) {
    Ids expected = c["ids"][name][i];
    expected.insert(expected.begin(), 1);  // add_bos_token is true unless the file says no
    EXPECT_EQ(tokenizer->encode(c["texts"][i].get<std::string>(), {.parse_special = false}),
              expected)
        << c["texts"][i].dump();
  }
}

TEST(GgufVocabulary, BertCutsWordsThatBeginWithAMark) {
  GgufVocabulary v;
  v.model = "bert";
  v.file = "bert.gguf";
  v.tokens = {"[UNK]", "[CLS]", "[SEP]", "\u2581the", "\u2581fox", "es", "\u2581!", "\u2581\u4e2d"};
  v.token_types = {2, 3, 3, 1, 1, 1, 1, 1};
  v.unk = 0;
  v.bos = 1;
  v.sep = 2;
  const auto tokenizer = Tokenizer::from_gguf(v);
  EXPECT_EQ(tokenizer->encode("The  F\u00f3xes! \u4e2dx"), (Ids{1, 3, 4, 5, 6, 7, 0, 2}));
  EXPECT_EQ(tokenizer->decode(Ids{1, 3, 4, 5, 6, 2}), "the foxes !");
}

TEST(GgufVocabulary, UserDefinedTokensAreCutOutOfEveryText) {
  GgufVocabulary v = letters();
  v.tokens.insert(v.tokens.end(), {"<u>", "<c>"});
  v.token_types = {1, 1, 1, 4, 3};
  const auto tokenizer = Tokenizer::from_gguf(v);
  EXPECT_EQ(tokenizer->encode("ab<u>a<c>"), (Ids{2, 3, 0, 4}));
  EXPECT_EQ(tokenizer->encode("ab<u>a<c>", {.parse_special = false}), (Ids{2, 3, 0}));
}

TEST(GgufVocabulary, RefusesByNameWhatItCannotRun) {
  const auto refused = [](const GgufVocabulary& v, const char* name) {
    try {
      Tokenizer::from_gguf(v);
      ADD_FAILURE() << name << " was taken";
    } catch (const UserError& e) {
      EXPECT_EQ(e.code(), Exit::bad_data);
      EXPECT_NE(e.message().find(name), std::string::npos) << e.message();
      EXPECT_EQ(e.where().file, "letters.gguf");
    }
  };
  GgufVocabulary v = letters();
  v.pre = "superbpe";
  refused(v, "superbpe");
  v = letters();
  v.model = "rwkv";
  refused(v, "rwkv");
  v = letters();
  v.merges = {"a c"};
  refused(v, "\"c\"");
  v = letters();
  v.tokens[1] = "a";
  refused(v, "stands twice");
  v = letters();
  v.token_types = {1};
  refused(v, "1 token types for 3 tokens");
  v = letters();
  v.scores = {1, 2};
  refused(v, "2 scores for 3 tokens");
  v = letters();
  v.add_bos = true;
  refused(v, "bos_token_id");
}

}  // namespace
}  // namespace nibble
