// Tokenizers against the reference libraries: every component of tokenizer.json and a SentencePiece
// model, with vectors written by tests/golden/tokenizers/make.py.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "model/text/tokenizer.h"
#include "tests/model/text/tokenizer_folder.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

using testing::TokenizerFolder;
using Ids = std::vector<int32_t>;

std::string streamed(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string all;
  for (const int32_t id : ids) {
    const std::string part = decoder.push(id);
    EXPECT_TRUE(valid_utf8(part)) << "half a character";
    all += part;
  }
  return all + decoder.finish();
}

void check_cases(const char* file, size_t at_least) {
  const Json cases = read_json(testing::golden_path(file));
  ASSERT_GE(cases.size(), at_least);
  for (const Json& c : cases) {
    SCOPED_TRACE(c["name"].get<std::string>());
    TokenizerFolder folder;
    folder.write("tokenizer.json", c["tokenizer"].dump());
    const auto tokenizer = Tokenizer::load(folder.path());
    for (size_t i = 0; i < c["texts"].size(); ++i) {
      const auto text = c["texts"][i].get<std::string>();
      SCOPED_TRACE(c["texts"][i].dump());
      const Ids ids = c["ids"][i];
      EXPECT_EQ(tokenizer->encode(text), ids);
      EXPECT_EQ(tokenizer->encode(text, {.add_special_tokens = false, .parse_special = false}),
                c["plain"][i].get<Ids>());
      EXPECT_EQ(tokenizer->decode(ids), c["decoded"][i].get<std::string>());
      EXPECT_EQ(tokenizer->decode(ids, false), c["decoded_all"][i].get<std::string>());
    }
    for (size_t i = 0; i < c["noise"].size(); ++i) {
      const Ids ids = c["noise"][i];
      EXPECT_EQ(tokenizer->decode(ids, false), c["noise_decoded"][i].get<std::string>());
      EXPECT_EQ(streamed(*tokenizer, ids, false), c["noise_decoded"][i].get<std::string>());
    }
  }
}

TEST(TokenizerJson, GivesTheIdsAndTextsOfTheHuggingFaceLibrary) {
  check_cases("tokenizers/components.json", 10);
}

TEST(TokenizerJson, RunsEveryModelAsTheHuggingFaceLibraryDoes) {
  check_cases("tokenizers/models.json", 7);
}

TEST(SentencePiece, AFileAloneGivesTheIdsAndTextsOfAUnigramModel) {
  const auto tokenizer = Tokenizer::open(testing::golden_path("tokenizers/unigram.model"));
  const Json c = read_json(testing::golden_path("tokenizers/unigram.json"));
  const Tokenizer::EncodeOptions bare{.add_special_tokens = false};
  for (size_t i = 0; i < c["texts"].size(); ++i) {
    SCOPED_TRACE(c["texts"][i].dump());
    const Ids ids = c["ids"][i];
    EXPECT_EQ(tokenizer->encode(c["texts"][i].get<std::string>(), bare), ids);
    EXPECT_EQ(tokenizer->decode(ids), c["decoded"][i].get<std::string>());
    EXPECT_EQ(streamed(*tokenizer, ids, true), c["decoded"][i].get<std::string>());
  }
  EXPECT_EQ(tokenizer->encode("").size(), 1u) << "BOS stands before a text";
}

TEST(TokenizerJson, ATemplateWithoutItsDeclarationsIsNamed) {
  Json tokenizer = read_json(testing::golden_path("tokenizers/components.json"))[0]["tokenizer"];
  tokenizer["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}}};
  TokenizerFolder folder;
  folder.write("tokenizer.json", tokenizer.dump());
  try {
    (void)Tokenizer::load(folder.path());
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("\"<s>\" is not declared"), std::string::npos) << e.what();
  }
}

TEST(TokenizerJson, JoinsTwoTextsByTheTemplate) {
  const Json c = read_json(testing::golden_path("tokenizers/models.json"))[0];
  const auto tokenizer = Tokenizer::from_bytes(Tokenizer::FileKind::tokenizer_json,
                                               c["tokenizer"].dump(), "tokenizer.json");
  const Ids a = tokenizer->encode("the fox", {.add_special_tokens = false});
  const Ids b = tokenizer->encode("dogs", {.add_special_tokens = false});
  Ids expected = {1};
  expected.insert(expected.end(), a.begin(), a.end());
  expected.push_back(2);
  expected.insert(expected.end(), b.begin(), b.end());
  expected.push_back(2);
  EXPECT_EQ(tokenizer->encode_pair("the fox", "dogs", {}), expected);
}

TEST(SentencePiece, GivesTheIdsAndTextsOfTheReferenceLibrary) {
  TokenizerFolder folder;
  folder.write("tokenizer.model", read_file(testing::golden_path("tokenizers/spm.model")));
  const auto tokenizer = Tokenizer::load(folder.path());
  const Json c = read_json(testing::golden_path("tokenizers/spm.json"));
  const Tokenizer::EncodeOptions plain{.add_special_tokens = false, .parse_special = false};
  for (size_t i = 0; i < c["texts"].size(); ++i) {
    SCOPED_TRACE(c["texts"][i].dump());
    const Ids ids = c["ids"][i];
    EXPECT_EQ(tokenizer->encode(c["texts"][i].get<std::string>(), plain), ids);
    EXPECT_EQ(tokenizer->decode(ids), c["decoded"][i].get<std::string>());
    EXPECT_EQ(streamed(*tokenizer, ids, true), c["decoded"][i].get<std::string>());
  }
  for (size_t i = 0; i < c["broken_hex"].size(); ++i) {
    const auto hex = c["broken_hex"][i].get<std::string>();
    std::string bytes;
    for (size_t at = 0; at < hex.size(); at += 2) {
      bytes.push_back(static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16)));
    }
    EXPECT_EQ(tokenizer->encode(bytes, plain), c["broken_ids"][i].get<Ids>()) << hex;
  }
}

TEST(SentencePiece, ControlPiecesInTextAreSpecialOnlyWhenParsed) {
  TokenizerFolder folder;
  folder.write("tokenizer.model", read_file(testing::golden_path("tokenizers/spm.model")));
  const auto tokenizer = Tokenizer::load(folder.path());
  const int32_t control = *tokenizer->id_of("[INST]");
  EXPECT_TRUE(tokenizer->is_special(control));
  const Ids parsed = tokenizer->encode("[INST] the");
  ASSERT_GE(parsed.size(), 3u);
  EXPECT_EQ(parsed[0], *tokenizer->bos());
  EXPECT_EQ(parsed[1], control);
  const Ids plain = tokenizer->encode("[INST] the", {.parse_special = false});
  EXPECT_EQ(std::count(plain.begin(), plain.end(), control), 0);
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_FALSE(tokenizer->adds_eos());
}

}  // namespace
}  // namespace nibble
