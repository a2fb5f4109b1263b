// Where tokens lie in their text, against the Hugging Face library.
#include "model/text/tokenizer_offsets.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "tests/model/text/tokenizer_folder.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

using testing::TokenizerFolder;

TEST(TokenOffsets, AreThoseOfTheHuggingFaceLibrary) {
  const Json cases = read_json(testing::golden_path("tokenizers/offsets.json"));
  ASSERT_GE(cases.size(), 20u);
  for (const Json& c : cases) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const Json all = read_json(testing::golden_path("tokenizers/" + c["file"].get<std::string>()));
    TokenizerFolder folder;
    for (const Json& one : all)
      if (one["name"] == c["name"]) folder.write("tokenizer.json", one["tokenizer"].dump());
    const auto tokenizer = Tokenizer::load(folder.path());
    for (size_t i = 0; i < c["texts"].size(); ++i) {
      SCOPED_TRACE(c["texts"][i].dump());
      Json ids = Json::array(), offsets = Json::array();
      for (const TokenOffset& t :
           tokenizer->encode_with_offsets(c["texts"][i].get<std::string>(), {})) {
        ids.push_back(t.id);
        offsets.push_back({t.begin, t.end});
      }
      EXPECT_EQ(ids, c["ids"][i]);
      EXPECT_EQ(offsets, c["offsets"][i]);
    }
  }
}

TEST(TokenOffsets, OfASentencePieceModelAreRefusedByName) {
  const auto tokenizer = Tokenizer::open(testing::golden_path("tokenizers/spm.model"));
  EXPECT_THROW((void)tokenizer->encode_with_offsets("Hi", {}), UserError);
}

}  // namespace
}  // namespace nibble
