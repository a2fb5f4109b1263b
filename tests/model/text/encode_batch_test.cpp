// Many texts together become what each becomes alone.
#include "model/text/encode_batch.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/files.h"
#include "tests/model/text/tokenizer_folder.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

TEST(EncodeBatch, GivesEveryTextTheIdsItHasAlone) {
  testing::TokenizerFolder folder;
  folder.write("tokenizer.model", read_file(testing::golden_path("tokenizers/spm.model")));
  const auto tokenizer = Tokenizer::load(folder.path());
  std::vector<std::string> texts;
  for (size_t i = 0; i < 200; ++i) {
    texts.push_back(std::string(i % 50, 'a') + " the quick brown fox " + std::to_string(i));
  }
  texts.emplace_back();
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    const auto ids = encode_batch(*tokenizer, views, {.add_special_tokens = false}, pool);
    ASSERT_EQ(ids.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(ids[i], tokenizer->encode(texts[i], {.add_special_tokens = false})) << i;
    }
  }
}

}  // namespace
}  // namespace nibble
