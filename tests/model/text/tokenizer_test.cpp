// What holds for every tokenizer: streams end in whole characters, huge and broken input is taken,
// what nibble does not have is refused by name.
#include "model/text/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "model/text/normalize.h"
#include "tests/model/text/tokenizer_folder.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

using testing::TokenizerFolder;
using Ids = std::vector<int32_t>;

Json golden_tokenizer(size_t index) {
  return read_json(testing::golden_path("tokenizers/components.json"))[index]["tokenizer"];
}

std::unique_ptr<Tokenizer> load_json(const Json& tokenizer, const std::string& config = "") {
  TokenizerFolder folder;
  folder.write("tokenizer.json", tokenizer.dump());
  if (!config.empty()) folder.write("tokenizer_config.json", config);
  return Tokenizer::load(folder.path());
}

std::unique_ptr<Tokenizer> load_spm(const std::string& config = "") {
  TokenizerFolder folder;
  folder.write("tokenizer.model", read_file(testing::golden_path("tokenizers/spm.model")));
  if (!config.empty()) folder.write("tokenizer_config.json", config);
  return Tokenizer::load(folder.path());
}

UserError refusal(const TokenizerFolder& folder) {
  try {
    Tokenizer::load(folder.path());
  } catch (const UserError& e) {
    return e;
  }
  return UserError("", "nothing was refused");
}

TEST(Tokenizer, TakesAQuarterMegabyteOfOneCharacterInTime) {
  const size_t n = 1 << 18;
  std::string marks = "a";
  while (marks.size() < n) marks += "\xCC\xA3\xCC\x81";
  const std::string inputs[] = {std::string(n, ' '),
                                std::string(n, 'x'),
                                std::string(n, '\n'),
                                std::string(n, '\0'),
                                std::string(n, '<'),
                                std::string(n, '\xFF'),
                                marks};
  const Json cases = read_json(testing::golden_path("tokenizers/components.json"));
  const auto begin = std::chrono::steady_clock::now();
  const auto spm = load_spm();
  for (const std::string& input : inputs) spm->encode(input);
  for (const size_t i : {size_t{0}, size_t{3}, cases.size() - 1}) {
    const auto tokenizer = load_json(cases[i]["tokenizer"]);
    for (const std::string& input : inputs) tokenizer->encode(input);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(took.count(), 60) << "28 inputs; a quadratic step would take hours";
}

TEST(Tokenizer, ReplacesBrokenUtf8) {
  const auto tokenizer = load_json(golden_tokenizer(0));
  // One U+FFFD for each longest start of a character.
  EXPECT_EQ(tokenizer->encode("a\xE2\x82"
                              "b\xFF"),
            tokenizer->encode("a\uFFFD"
                              "b\uFFFD"));
  EXPECT_EQ(tokenizer->encode("\xC0\x80"), tokenizer->encode("\uFFFD\uFFFD"));
}

TEST(Tokenizer, StreamsAnEmojiAsOneCharacter) {
  const auto tokenizer = load_json(golden_tokenizer(1));
  StreamDecoder decoder(*tokenizer);
  std::vector<std::string> parts;
  for (const int32_t id : tokenizer->encode("\U0001F607!")) parts.push_back(decoder.push(id));
  parts.push_back(decoder.finish());
  EXPECT_EQ(join(parts, ""), " \U0001F607!");
  for (const std::string& part : parts) EXPECT_TRUE(valid_utf8(part));
  // A stream that stops inside a character ends in U+FFFD, as decode() does.
  Ids ids = tokenizer->encode("\U0001F607");
  ids.pop_back();
  for (const int32_t id : ids) decoder.push(id);
  EXPECT_EQ(decoder.finish(), "\uFFFD");
}

TEST(Tokenizer, BytesOfTheTokensJoinToTheText) {
  for (const size_t i : {0u, 1u}) {
    const auto tokenizer = load_json(golden_tokenizer(i));
    const std::string text = " x1 na\u00EFve \U0001F600\n";
    std::string bytes;
    for (const int32_t id : tokenizer->encode(text, {.add_special_tokens = false})) {
      bytes += tokenizer->token_bytes(id);
    }
    EXPECT_EQ(bytes, text);
  }
  const auto spm = load_spm();
  EXPECT_EQ(spm->token_bytes(*spm->id_of("<0x0A>")), "\n");
  EXPECT_EQ(spm->token_bytes(*spm->id_of("\u2581")), " ");
  EXPECT_EQ(spm->token_bytes(-1), "");
  EXPECT_EQ(spm->token_bytes(1 << 20), "");
}

TEST(Tokenizer, ConfigNamesSpecialTokensAndRulesBosAndEos) {
  const auto with = load_spm(
      R"({"add_bos_token": false, "add_eos_token": true, "eos_token": {"content": "[INST]"},
          "pad_token": "</s>", "unk_token": null, "chat_template": [
            {"name": "tool", "template": "t"}, {"name": "default", "template": "d"}]})");
  EXPECT_FALSE(with->adds_bos());
  EXPECT_TRUE(with->adds_eos());
  EXPECT_EQ(with->eos(), with->id_of("[INST]"));
  EXPECT_EQ(with->pad(), with->id_of("</s>"));
  EXPECT_EQ(with->encode("fox").back(), *with->eos());
  EXPECT_EQ(with->chat_template(), "d");
  const auto without = load_spm();
  EXPECT_EQ(without->encode("").size(), 1u);
  EXPECT_EQ(without->chat_template(), "");
}

TEST(Tokenizer, ThreadsShareOneTokenizer) {
  const auto tokenizer = load_json(golden_tokenizer(0));
  const std::string text = "the quick brown fox jumps over 1234 lazy dogs\n";
  const Ids expected = tokenizer->encode(text);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) wrong[t] += tokenizer->encode(text) != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Tokenizer, AnEmptyFolderIsMissingInputThatNamesTheFiles) {
  const TokenizerFolder folder;
  EXPECT_FALSE(Tokenizer::present(folder.path()));
  const UserError e = refusal(folder);
  EXPECT_EQ(e.code(), Exit::missing_input);
  for (const char* file : {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"}) {
    EXPECT_NE(e.message().find(file), std::string::npos) << file;
  }
}

TEST(Tokenizer, RefusesWhatIsNotThereYetByName) {
  const struct {
    const char *place, *value, *name;
  } cases[] = {
      {"/model/type", R"("Markov")", "Markov"},
      {"/model/dropout", "0.1", "dropout"},
      {"/normalizer", R"({"type": "Transliterate"})", "Transliterate"},
      {"/pre_tokenizer", R"({"type": "Sentences"})", "Sentences"},
      {"/post_processor", R"({"type": "Unheard"})", "Unheard"},
      {"/decoder", R"({"type": "Speech"})", "Speech"},
  };
  for (const auto& c : cases) {
    Json tokenizer = golden_tokenizer(0);
    tokenizer[Json::json_pointer(c.place)] = Json::parse(c.value);
    TokenizerFolder folder;
    folder.write("tokenizer.json", tokenizer.dump());
    const UserError e = refusal(folder);
    EXPECT_EQ(e.code(), Exit::bad_data) << c.name;
    EXPECT_NE(e.message().find(c.name), std::string::npos) << e.message();
    EXPECT_NE(e.message().find("not supported yet"), std::string::npos) << e.message();
  }
}

TEST(Tokenizer, DamagedFilesAreBadData) {
  const std::string whole = golden_tokenizer(0).dump();
  const std::string model = read_file(testing::golden_path("tokenizers/spm.model"));
  const struct {
    const char* file;
    std::string text;
  } cases[] = {
      {"tokenizer.json", ""},
      {"tokenizer.json", whole.substr(0, whole.size() / 2)},
      {"tokenizer.json", "[]"},
      {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}})"},
      {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}})"},
      {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["aa"]}})"},
      {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 99999999}, "merges": []}})"},
      {"tokenizer.json", R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}},
                             "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})"},
      {"tokenizer.model", ""},
      {"tokenizer.model", model.substr(0, model.size() - 7)},
      {"tokenizer.model", "version https://git-lfs.github.com/spec/v1\n"},
  };
  for (const auto& c : cases) {
    TokenizerFolder folder;
    folder.write(c.file, c.text);
    EXPECT_EQ(refusal(folder).code(), Exit::bad_data) << c.file << " " << c.text.substr(0, 70);
  }
}

// As the Hugging Face library, which numbers them itself.
TEST(Tokenizer, AddedTokensBehindAGapGetTheNextId) {
  Json tokenizer = golden_tokenizer(1);
  const auto size = static_cast<int32_t>(tokenizer["model"]["vocab"].size());
  tokenizer["added_tokens"].push_back({{"id", size + 5},
                                       {"content", "<gap>"},
                                       {"single_word", false},
                                       {"lstrip", false},
                                       {"rstrip", false},
                                       {"normalized", false},
                                       {"special", true}});
  EXPECT_EQ(load_json(tokenizer)->id_of("<gap>"), size);
}

TEST(Tokenizer, RefusesStepsThatWouldFillTheMemory) {
  Json tokenizer = golden_tokenizer(0);
  Json doubling = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  Json steps = Json::array();
  for (int i = 0; i < 60; ++i) steps.push_back(doubling);
  tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
  EXPECT_THROW(load_json(tokenizer)->encode("banana"), UserError);
  tokenizer["normalizer"] = nullptr;
  tokenizer["decoder"] = {{"type", "Sequence"}, {"decoders", steps}};
  const auto decodes = load_json(tokenizer);
  EXPECT_THROW(decodes->decode(decodes->encode("banana")), UserError);
}

TEST(Tokenizer, CutModelFilesNeverCrash) {
  const std::string model = read_file(testing::golden_path("tokenizers/spm.model"));
  for (size_t n = 0; n < model.size(); n += 37) {
    TokenizerFolder folder;
    std::string bytes = model;
    bytes[n] = static_cast<char>(bytes[n] ^ 0x55);
    folder.write("tokenizer.model", bytes);
    try {
      Tokenizer::load(folder.path())->encode("the fox \uFB01 e\u0301 [INST]");
    } catch (const UserError& e) {
      EXPECT_EQ(e.code(), Exit::bad_data);
    }
  }
}

// Characters whose marks came after Unicode 9 stay where they are: so does the reference library.
TEST(Normalize, LeavesYoungMarksAlone) {
  using text::UnicodeForm;
  EXPECT_EQ(text::unicode_normalize("e\u0301", UnicodeForm::nfc), "\u00E9");
  EXPECT_EQ(text::unicode_normalize("a\u0301\u0323", UnicodeForm::nfd), "a\u0323\u0301");
  EXPECT_EQ(text::unicode_normalize("a\u08CA\u0301", UnicodeForm::nfc), "a\u08CA\u0301");
  EXPECT_EQ(text::unicode_normalize("\uFB01\u2167", UnicodeForm::nfkc), "fiVIII");
}

}  // namespace
}  // namespace nibble
