// tiktoken files: GPT-2's vocabulary as ranks gives GPT-2's ids; what nothing names is refused.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "model/text/byte_level.h"
#include "model/text/tokenizer.h"
#include "tests/model/text/tokenizer_folder.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

using testing::TokenizerFolder;

std::string base64(const std::string& bytes) {
  const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8 | (at + i < bytes.size() ? static_cast<uint8_t>(bytes[at + i]) : 0u);
    }
    for (size_t i = 0; i < 4; ++i) {
      out += at + i > bytes.size() ? '=' : digits[group >> (18 - 6 * i) & 63];
    }
  }
  return out;
}

std::string single_bytes() {
  std::string lines;
  for (int b = 0; b < 256; ++b) lines += base64({static_cast<char>(b)}) + cat(" ", b, "\n");
  return lines;
}

TEST(Tiktoken, Gpt2AsRanksHasTheIdsOfVocabAndMerges) {
  NIBBLE_REQUIRE_DATA(folder, "data/tokenizers/gpt2");
  std::string lines;
  const Json vocab = read_json(join_path(folder, "vocab.json"));
  for (const auto& [token, id] : vocab.items()) {
    if (const auto bytes = text::from_byte_characters(token); bytes && id < 50256) {
      lines += base64(*bytes) + cat(" ", id.get<int64_t>(), "\n");
    }
  }
  TokenizerFolder made;
  made.write("r50k_base.tiktoken", lines);
  const auto ranks = Tokenizer::open(join_path(made.path(), "r50k_base.tiktoken"));
  const auto merges = Tokenizer::load(folder);
  EXPECT_EQ(ranks->vocab_size(), 50257);
  for (const char* text :
       {"Hello world", "I'm  12345 \xF0\x9F\x98\x80\n\n x", "caf\u00e9 \u4e2d\u6587",
        "    indented", "<|endoftext|>a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    EXPECT_EQ(ranks->encode(text), merges->encode(text)) << text;
    EXPECT_EQ(ranks->decode(ranks->encode(text), false), text);
  }
}

TEST(Tiktoken, TheClassOrTheNameSaysWhoseItIs) {
  TokenizerFolder llama;
  llama.write("tokenizer.model", single_bytes());
  const auto tokenizer = Tokenizer::load(llama.path());
  EXPECT_EQ(tokenizer->id_of("<|begin_of_text|>"), 256);
  EXPECT_EQ(tokenizer->id_of("<|eot_id|>"), 256 + 9);
  EXPECT_EQ(tokenizer->encode("a").front(), 256);
  TokenizerFolder qwen;
  qwen.write("any.tiktoken", single_bytes());
  qwen.write("tokenizer_config.json", R"({"tokenizer_class": "QWenTokenizer"})");
  EXPECT_EQ(Tokenizer::load(qwen.path())->id_of("<|im_end|>"), 258);
}

TEST(Tiktoken, RefusesPatternsThatNothingNamesAndDamagedLines) {
  const auto message = [](const char* file, const std::string& text, const char* config) {
    TokenizerFolder folder;
    folder.write(file, text);
    if (config != nullptr) folder.write("tokenizer_config.json", config);
    try {
      Tokenizer::load(folder.path());
    } catch (const UserError& e) {
      EXPECT_EQ(e.code(), Exit::bad_data);
      return e.message();
    }
    return std::string("taken");
  };
  EXPECT_NE(message("mine.tiktoken", single_bytes(), nullptr).find("mine.tiktoken"),
            std::string::npos);
  EXPECT_NE(message("mine.tiktoken", single_bytes(), R"({"tokenizer_class": "NovelTokenizer"})")
                .find("NovelTokenizer"),
            std::string::npos);
  EXPECT_NE(message("qwen.tiktoken", "YQ== 0\n", nullptr).find("no token for byte 0"),
            std::string::npos);
  EXPECT_NE(message("qwen.tiktoken", single_bytes() + "YQ== 3\n", nullptr).find("twice"),
            std::string::npos);
  EXPECT_NE(message("qwen.tiktoken", single_bytes() + "!? 300\n", nullptr).find("base64"),
            std::string::npos);
}

}  // namespace
}  // namespace nibble
