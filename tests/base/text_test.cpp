// Numbers and words as people read and misspell them.
#include "base/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>

namespace nibble {
namespace {

TEST(Text, CatJoinsEveryKindOfValue) {
  EXPECT_EQ(
      cat("r ", 16, ' ', true, " ", 0.5, " ", std::string("x"), " ", uint64_t{7}, " ", int8_t{-3}),
      "r 16 true 0.5 x 7 -3");
}

TEST(Text, NumbersAreShortAndReadBackTheSame) {
  EXPECT_EQ(cat(2e-4), "2e-4");
  EXPECT_EQ(cat(0.1f), "0.1");
  EXPECT_EQ(cat(0.1), "0.1");
  EXPECT_EQ(cat(100000.0), "100000");
  EXPECT_EQ(cat(1e22), "1e22");
  EXPECT_EQ(cat(-0.0), "-0");
  EXPECT_EQ(cat(std::numeric_limits<double>::infinity()), "inf");
  for (double v : {1.0 / 3, 1e-300, 123456.789, 1e15, 9007199254740993.0, -5e-324}) {
    EXPECT_EQ(std::strtod(cat(v).c_str(), nullptr), v) << cat(v);
  }
  for (float v : {1.0f / 3, 16777216.0f, 3.4e38f, 1e-20f, 9999999.0f}) {
    EXPECT_EQ(std::strtof(cat(v).c_str(), nullptr), v) << cat(v);
  }
}

TEST(Text, UnitsHaveThreeDigits) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.00 KiB");
  EXPECT_EQ(human_bytes(int64_t{522} << 20), "522 MiB");
  EXPECT_EQ(human_bytes(1406597202), "1.31 GiB");
  EXPECT_EQ(human_bytes((int64_t{1} << 30) - 1), "1.00 GiB");
  EXPECT_EQ(human_bytes(-2048), "-2.00 KiB");
  EXPECT_EQ(human_count(52002), "52,002");
  EXPECT_EQ(human_count(-1000), "-1,000");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(-123), "-123");
  EXPECT_EQ(human_duration(0.21), "0.21 s");
  EXPECT_EQ(human_duration(12.34), "12.3 s");
  EXPECT_EQ(human_duration(184), "3 min 4 s");
  EXPECT_EQ(human_duration(4140), "1 h 09 min");
  EXPECT_EQ(human_duration(59.96), "1 min 0 s");
  EXPECT_EQ(human_duration(NAN), "unknown time");
  EXPECT_EQ(fixed(1.4125, 3), "1.413");
  EXPECT_EQ(fixed(-2, 1), "-2.0");
}

TEST(Text, SplitKeepsEmptyPartsAndJoinUndoesIt) {
  EXPECT_EQ(split("a,,b,", ',').size(), 4u);
  EXPECT_EQ(split("", ',').size(), 1u);
  EXPECT_EQ(join(split("a,,b,", ','), ","), "a,,b,");
  EXPECT_EQ(trim(" \t x y\n"), "x y");
  EXPECT_EQ(trim(" \n"), "");
  EXPECT_TRUE(starts_with("abc", "ab") && ends_with("abc", "bc") && !ends_with("c", "bc"));
}

TEST(Text, NearestFindsWhatWasMeantAndNothingElse) {
  const std::vector<std::string> keys = {"learning_rate", "lora_r",       "lora_alpha",
                                         "lr_scheduler",  "warmup_steps", "seed"};
  EXPECT_EQ(nearest("learning_rat", keys), "learning_rate");
  EXPECT_EQ(nearest("learnign_rate", keys), "learning_rate");
  EXPECT_EQ(nearest("Learning-Rate", keys), "learning_rate");
  EXPECT_EQ(nearest("lorar", keys), "lora_r");
  EXPECT_EQ(nearest("sede", keys), "seed");
  EXPECT_EQ(nearest("datasets", keys), "");
  EXPECT_EQ(nearest("x", keys), "");
  EXPECT_EQ(nearest("", keys), "");
}

TEST(Text, Utf8IsCheckedToTheLetter) {
  EXPECT_TRUE(valid_utf8("aß漢😀"));
  for (const char* bad : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80",
                          "\xFF", "\xE0\x80\x80", "\xF0\x80\x80\x80"}) {
    EXPECT_FALSE(valid_utf8(bad)) << bad;
  }
}

TEST(Text, StreamingHoldsBackOnlyTheStartOfACharacter) {
  const std::string text = "a漢😀";
  EXPECT_EQ(complete_utf8_prefix(text), text.size());
  EXPECT_EQ(complete_utf8_prefix(text.substr(0, 2)), 1u);
  EXPECT_EQ(complete_utf8_prefix(text.substr(0, 3)), 1u);
  EXPECT_EQ(complete_utf8_prefix(text.substr(0, 7)), 4u);
  EXPECT_EQ(complete_utf8_prefix("a\xFF"), 2u);     // never a character: not held back
  EXPECT_EQ(complete_utf8_prefix("\xED\xA0"), 2u);  // half a surrogate can not become one
  EXPECT_EQ(complete_utf8_prefix("\x80\x80\x80"), 3u);
  EXPECT_EQ(complete_utf8_prefix(""), 0u);
}

}  // namespace
}  // namespace nibble
