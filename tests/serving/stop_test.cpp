#include "serving/stop.h"

#include <gtest/gtest.h>

#include <random>

namespace nibble::serving {
namespace {

// What must come out, found by looking at the whole text.
std::string cut(const std::string& text, const std::vector<std::string>& stops, bool include,
                std::string* reason) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t best = std::string::npos;
    for (const std::string& s : stops) {
      if (end < s.size() || text.compare(end - s.size(), s.size(), s) != 0) continue;
      if (best != std::string::npos && end - s.size() >= best) continue;
      best = end - s.size();
      *reason = s;
    }
    if (best != std::string::npos) return text.substr(0, include ? end : best);
  }
  reason->clear();
  return text;
}

TEST(StopMatcher, GivesTheSameWhateverThePiecesAndLeaksNothing) {
  std::mt19937 random(7);
  const auto word = [&](size_t longest, int letters) {
    std::string s(1 + random() % longest, 'a');
    for (char& c : s) c = static_cast<char>('a' + random() % letters);
    return s;
  };
  int stopped = 0;
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::string> stops;
    for (unsigned i = 0; i < 1 + random() % 3; ++i) stops.push_back(word(5, 2));
    const bool include = random() % 4 == 0;
    const std::string text = word(30, 2 + static_cast<int>(random() % 2));
    std::string reason;
    const std::string expected = cut(text, stops, include, &reason);
    size_t longest = 0;
    for (const std::string& s : stops) longest = std::max(longest, s.size());

    StopMatcher matcher(stops, include);
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const size_t n = std::min<size_t>(1 + random() % 6, text.size() - at);
      out += matcher.push(text.substr(at, n));
      at += n;
      ASSERT_EQ(expected.compare(0, out.size(), out), 0) << "leaked: " << out;
      if (!matcher.stopped()) {
        ASSERT_LT(at - out.size(), longest) << "held back too much";
      }
    }
    out += matcher.finish();
    ASSERT_EQ(out, expected) << text;
    ASSERT_EQ(matcher.stopped(), !reason.empty());
    if (matcher.stopped()) {
      ASSERT_EQ(matcher.reason(), reason);
      ++stopped;
    }
  }
  EXPECT_GT(stopped, 1000);
}

TEST(StopMatcher, LetsEverythingThroughWithoutStopStrings) {
  StopMatcher matcher;
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, ReleasesWhatOnlyLookedLikeAStop) {
  StopMatcher matcher({"\nUser:"}, false);
  EXPECT_EQ(matcher.push("hi\nUs"), "hi");
  EXPECT_EQ(matcher.push("e it"), "\nUse it");
  EXPECT_EQ(matcher.push("\n"), "");
  EXPECT_EQ(matcher.finish(), "\n");
}

}  // namespace
}  // namespace nibble::serving
