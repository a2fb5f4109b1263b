#include "cli/bench_text.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace nibble {
namespace {

TEST(BenchText, IsTheSameValidTextForTheSameSeed) {
  const std::vector<std::string> one = make_text_mix(300'000, 1);
  EXPECT_EQ(one, make_text_mix(300'000, 1));
  EXPECT_NE(one, make_text_mix(300'000, 2));
  size_t bytes = 0, letters = 0, beyond_ascii = 0;
  for (const std::string& document : one) {
    EXPECT_TRUE(valid_utf8(document));
    EXPECT_GE(document.size(), 1000u);
    bytes += document.size();
    for (const char c : document) {
      letters += c >= 'a' && c <= 'z';
      beyond_ascii += (static_cast<unsigned char>(c) & 0x80) != 0;
    }
  }
  EXPECT_GE(bytes, 300'000u);
  EXPECT_GT(letters, bytes / 3);
  EXPECT_GT(beyond_ascii, bytes / 20);
}

}  // namespace
}  // namespace nibble
