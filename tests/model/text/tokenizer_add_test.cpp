// Tokens added by training: ids, properties and the files that keep them.
#include "model/text/tokenizer_add.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "tests/model/text/tokenizer_folder.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

using testing::TokenizerFolder;
using Ids = std::vector<int32_t>;

void write_json_tokenizer(const TokenizerFolder& folder) {
  folder.write(
      "tokenizer.json",
      read_json(testing::golden_path("tokenizers/components.json"))[0]["tokenizer"].dump());
  folder.write("tokenizer_config.json", R"({"eos_token": "</s>", "model_max_length": 64})");
  folder.write("special_tokens_map.json", R"({"eos_token": "</s>"})");
}

TokenizerChange sample_change() {
  TokenizerChange change;
  change.tokens.push_back({.content = "<tool>", .special = true});
  change.tokens.push_back({.content = "zig zag"});
  change.tokens.push_back({.content = "</s>", .special = true});
  change.roles = {{"pad_token", "<|pad|>"}};
  return change;
}

TEST(TokenizerAdd, NewIdsFollowTheLastAndOldTokensKeepTheirs) {
  TokenizerFolder folder;
  write_json_tokenizer(folder);
  const auto tokenizer = Tokenizer::load(folder.path());
  const int32_t size = tokenizer->vocab_size(), eos = *tokenizer->eos();
  EXPECT_EQ(change_tokenizer(*tokenizer, sample_change()), 3);
  EXPECT_EQ(tokenizer->vocab_size(), size + 3);
  EXPECT_EQ(tokenizer->id_of("<tool>"), size);
  EXPECT_EQ(tokenizer->id_of("zig zag"), size + 1);
  EXPECT_EQ(tokenizer->pad(), size + 2);
  EXPECT_EQ(tokenizer->eos(), eos);
  EXPECT_TRUE(tokenizer->is_special(size));
  EXPECT_FALSE(tokenizer->is_special(size + 1));
  const Ids ids = tokenizer->encode("zig zag<tool>", {.add_special_tokens = false});
  EXPECT_EQ(ids, (Ids{size + 1, size}));
  EXPECT_EQ(tokenizer->decode(ids), "zig zag");
  EXPECT_EQ(change_tokenizer(*tokenizer, sample_change()), 0) << "a second time adds nothing";
}

TEST(TokenizerAdd, WrittenFilesGiveTheSameIds) {
  TokenizerFolder folder, out;
  write_json_tokenizer(folder);
  write_changed_tokenizer(folder.path(), sample_change(), out.path());
  const auto changed = Tokenizer::load(folder.path());
  change_tokenizer(*changed, sample_change());
  const auto read = Tokenizer::load(out.path());
  const std::string text = "the <tool>zig zag</s> <|pad|>over";
  EXPECT_EQ(read->encode(text), changed->encode(text));
  EXPECT_EQ(read->vocab_size(), changed->vocab_size());
  EXPECT_EQ(read->pad(), changed->pad());
  const Json config = read_json(join_path(out.path(), "tokenizer_config.json"));
  EXPECT_EQ(config["model_max_length"], 64);
  const Json old = read_json(join_path(folder.path(), "tokenizer.json"))["added_tokens"];
  EXPECT_EQ(config["added_tokens_decoder"].size(), old.size() + 3) << "old tokens are listed, too";
  EXPECT_EQ(config["pad_token"], "<|pad|>");
  EXPECT_EQ(read_json(join_path(out.path(), "special_tokens_map.json"))["pad_token"], "<|pad|>");
}

TEST(TokenizerAdd, SentencePieceFoldersKeepTheModelAndListTheTokens) {
  TokenizerFolder folder, out;
  const std::string model = read_file(testing::golden_path("tokenizers/spm.model"));
  folder.write("tokenizer.model", model);
  write_changed_tokenizer(folder.path(), sample_change(), out.path());
  EXPECT_EQ(read_file(join_path(out.path(), "tokenizer.model")), model);
  const auto before = Tokenizer::load(folder.path()), after = Tokenizer::load(out.path());
  EXPECT_EQ(after->id_of("<tool>"), before->vocab_size());
  EXPECT_EQ(after->vocab_size(), before->vocab_size() + 3);
  // A token in the middle takes none of the text around it.
  const int32_t token = *after->id_of("zig zag");
  Ids expected = before->encode("a ");
  expected.push_back(token);
  EXPECT_EQ(after->encode("a zig zag"), expected);
}

TEST(TokenizerAdd, RefusesEmptyTokensAndUnknownParts) {
  TokenizerFolder folder;
  write_json_tokenizer(folder);
  const auto tokenizer = Tokenizer::load(folder.path());
  TokenizerChange change;
  change.tokens.push_back({.content = ""});
  EXPECT_THROW(change_tokenizer(*tokenizer, change), UserError);
  change.tokens.clear();
  change.roles = {{"end_token", "x"}};
  EXPECT_THROW(change_tokenizer(*tokenizer, change), UserError);
}

}  // namespace
}  // namespace nibble
