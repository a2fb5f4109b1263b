// The scanners against PCRE2 running the published expressions.
#include "model/text/scanner.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "model/text/pattern.h"
#include "model/text/utf8.h"

namespace nibble::text {
namespace {

struct Published {
  const char* name;
  const char* expression;
};

// As tokenizer.json of GPT-2, Llama 3, Qwen2, Qwen3.5, GPT-4o and Mistral Nemo spell them.
const Published kPublished[] = {
    {"gpt2", R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"},
    {"llama3", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
               R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"qwen2", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
              R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"qwen3.5", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
                R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"gpt4o", R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
              R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
              R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
              R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)"
              R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"nemo", R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
             R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
             R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}};

std::vector<size_t> scanned(Cut cut, std::string_view text, size_t most) {
  std::vector<size_t> ends, all;
  ends.resize(most);
  for (size_t at = 0, n; (n = cut(text, at, ends.data(), most)) > 0; at = all.back()) {
    all.insert(all.end(), ends.begin(), ends.begin() + static_cast<std::ptrdiff_t>(n));
  }
  return all;
}

// The group keeps the expression from being recognized: PCRE2 runs it.
class Pcre2 {
 public:
  explicit Pcre2(const char* expression)
      : pattern_(Pattern::regex(std::string("(?:") + expression + ")", "")) {}
  bool runs() const { return pattern_.cut() == nullptr; }
  std::vector<size_t> ends(std::string_view text) {
    std::vector<size_t> all;
    for (size_t at = 0; at < text.size(); at = all.back()) {
      const Pattern::Match m = pattern_.find(text, at, scratch_);
      if (!m.found || m.begin != at || m.end == at) {
        ADD_FAILURE() << "a gap at " << at;
        return all;
      }
      all.push_back(m.end);
    }
    return all;
  }

 private:
  Pattern pattern_;
  MatchScratch scratch_;
};

std::string code_points(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    out += " U+" + [&] {
      char hex[16];
      std::snprintf(hex, sizeof hex, "%X", c.code);
      return std::string(hex);
    }();
    at += static_cast<size_t>(c.bytes);
  }
  return out;
}

// Upper, lower and title case, letters without case, marks, digits of three kinds, white space of
// many kinds, what contractions are made of, and the rest.
const uint32_t kCharacters[] = {
    'a',   'b',    'A',    'B',  0xC9,   0xE9,  0x1C5,  0x2B0,   0x4E2D,   0x627, 0x5D0,
    0x301, 0x903,  0x20DD, '1',  '2',    0x663, 0xBD,   0x2167,  ' ',      ' ',   '\t',
    '\n',  '\r',   0xB,    0xA0, 0x3000, 0x85,  0x2028, 0x180E,  0x200B,   '\'',  '\'',
    's',   'S',    't',    'r',  'e',    'E',   'v',    'l',     'L',      'm',   'D',
    0x17F, 0x2019, '/',    '!',  '.',    '_',   0,      0x1F600, 0x10FFFF, 0x378, 0x1D400};

TEST(Scanners, CutRandomTextAsPcre2Does) {
  std::mt19937 random(7);
  for (const Published& p : kPublished) {
    const Cut cut = cut_of(p.expression);
    ASSERT_NE(cut, nullptr) << p.name;
    Pcre2 pcre2(p.expression);
    ASSERT_TRUE(pcre2.runs());
    for (int i = 0; i < 30'000; ++i) {
      std::string text;
      for (size_t n = random() % 20; n > 0; --n) {
        append_character(text, kCharacters[random() % std::size(kCharacters)]);
      }
      const auto expected = pcre2.ends(text);
      ASSERT_EQ(scanned(cut, text, 1 + random() % 8), expected) << p.name << code_points(text);
    }
  }
}

TEST(Scanners, KnowEveryCharacterAsPcre2Does) {
  std::string before_words, after_spaces;  // each character before a letter, and behind a space
  for (uint32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    append_character(before_words, code);
    before_words += "aA";
    after_spaces += "! ";
    append_character(after_spaces, code);
  }
  for (const Published& p : {kPublished[0], kPublished[3], kPublished[4]}) {
    Pcre2 pcre2(p.expression);
    for (const std::string& text : {before_words, after_spaces}) {
      EXPECT_TRUE(scanned(cut_of(p.expression), text, 100) == pcre2.ends(text)) << p.name;
    }
  }
}

TEST(Scanners, StayWithinATextThatEndsAmidACharacter) {
  for (const Published& p : kPublished) {
    const std::vector<size_t> ends = scanned(cut_of(p.expression), "ab \xF0\x9F", 4);
    ASSERT_FALSE(ends.empty());
    EXPECT_EQ(ends.back(), 5u) << p.name;
  }
}

TEST(Scanners, AreForExactlyThePublishedExpressions) {
  EXPECT_EQ(cut_of(""), nullptr);
  EXPECT_EQ(cut_of(R"(\s+)"), nullptr);
  EXPECT_EQ(cut_of(std::string(kPublished[1].expression) + "|x"), nullptr);
}

}  // namespace
}  // namespace nibble::text
