// nibble tokenize as its users meet it: what it prints, and what it takes as a tokenizer.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "cli/command_line.h"
#include "tests/model/text/tokenizer_folder.h"

namespace nibble {
namespace {

using testing::TokenizerFolder;

std::string printed(std::vector<std::string> arguments) {
  ::testing::internal::CaptureStdout();
  const int code = run_tokenize(arguments);
  std::string out = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, 0);
  return out;
}

// A vocabulary small enough to read the ids off it.
class TokenizeTest : public ::testing::Test {
 protected:
  TokenizeTest() {
    std::string words = "[UNK]\n[CLS]\n[SEP]\nhello\nthere\n##s\n.\n";
    folder_.write("vocab.txt", words);
    vocab_ = join_path(folder_.path(), "vocab.txt");
  }
  TokenizerFolder folder_;
  std::string vocab_;
};

TEST_F(TokenizeTest, JsonIsAListForEachText) {
  EXPECT_EQ(printed({vocab_, "--text", "hello theres.", "--json"}),
            "{\"ids\": [[1, 3, 4, 5, 6, 2]]}\n");
  EXPECT_EQ(printed({vocab_, "--text", "hello", "--json", "--no-special"}), "{\"ids\": [[3]]}\n");
  EXPECT_EQ(printed({vocab_, "--text", "null", "--json", "--no-special"}), "{\"ids\": [[0]]}\n");
  EXPECT_EQ(printed({vocab_, "--text", "", "--json", "--no-special"}), "{\"ids\": [[]]}\n");
}

TEST_F(TokenizeTest, LinesAreTextsAndAFileIsOne) {
  folder_.write("in.txt", "hello\n\nthere .");
  const std::string in = join_path(folder_.path(), "in.txt");
  EXPECT_EQ(printed({vocab_, "--lines", in, "--json", "--no-special"}),
            "{\"ids\": [[3], [], [4, 6]]}\n");
  EXPECT_EQ(printed({vocab_, "--file", in, "--json", "--no-special"}), "{\"ids\": [[3, 4, 6]]}\n");
}

TEST_F(TokenizeTest, DecodeReadsListsAndBlankSeparatedIds) {
  EXPECT_EQ(printed({vocab_, "--decode", "--text", "[1, 3, 4, 5, 2]"}), "hello theres\n");
  EXPECT_EQ(printed({vocab_, "--decode", "--text", "3 4"}), "hello there\n");
  const Json both = Json::parse(printed({vocab_, "--decode", "--json", "--text", "[[3], [4]]"}));
  EXPECT_EQ(both, Json({{"texts", {"hello", "there"}}}));
}

TEST_F(TokenizeTest, PeopleSeeEachTokenBesideItsId) {
  const std::string out = printed({vocab_, "--text", "hello there"});
  EXPECT_NE(out.find("       1  \"[CLS]\"  special\n       3  \"hello\"\n"), std::string::npos)
      << out;
  EXPECT_NE(out.find("4 tokens · vocabulary 7\n"), std::string::npos) << out;
}

TEST_F(TokenizeTest, MistakesNameThePlace) {
  const auto code = [](std::vector<std::string> arguments) {
    try {
      run_tokenize(arguments);
    } catch (const UserError& e) {
      return e.code();
    } catch (const UserErrors& e) {
      return e.code();
    }
    return Exit::done;
  };
  EXPECT_EQ(code({vocab_}), Exit::usage);
  EXPECT_EQ(code({vocab_, "--text", "a", "--file", "b"}), Exit::usage);
  EXPECT_EQ(code({join_path(folder_.path(), "none"), "--text", "a"}), Exit::missing_input);
  EXPECT_EQ(code({vocab_, "--file", join_path(folder_.path(), "none")}), Exit::missing_input);
  EXPECT_EQ(code({vocab_, "--decode", "--text", "one two"}), Exit::bad_data);
  EXPECT_EQ(code({vocab_, "--decode", "--text", "[1.5]"}), Exit::bad_data);
  folder_.write("merges.txt", "#version: 0.2\na b\n");
  EXPECT_EQ(code({join_path(folder_.path(), "merges.txt"), "--text", "a"}), Exit::missing_input)
      << "vocab.json is not beside it";
}

}  // namespace
}  // namespace nibble
