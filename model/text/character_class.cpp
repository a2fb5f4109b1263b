// One string holds every character in order; what an expression matches in it are the ranges of its
// class. That takes some milliseconds, once.
#include "model/text/character_class.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>

#include "model/text/pattern.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

constexpr uint32_t kCodes = 0x110000;

// Planes 4 to 13 have no characters, 15 and 16 only private ones; of 14 the first page row counts.
constexpr std::pair<uint32_t, uint32_t> kAsked[] = {
    {0, 0xD800}, {0xE000, 0x40000}, {0xE0000, 0xE1000}};

constexpr std::pair<CharacterClass, const char*> kExpressions[] = {
    {kLetter, R"(\p{L}+)"},
    {kNumber, R"(\p{N}+)"},
    {kWhiteSpace, R"(\s+)"},
    {kUpperOrBoth, R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+)"},
    {kLowerOrBoth, R"([\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"},
    {kMark, R"(\p{M}+)"}};

}  // namespace

const CharacterClasses& CharacterClasses::get() {
  static const CharacterClasses classes;
  return classes;
}

CharacterClasses::CharacterClasses() {
  std::vector<uint8_t> all(kCodes, 0);
  MatchScratch scratch;
  for (const auto& [low, high] : kAsked) {
    std::string text;
    for (uint32_t code = low; code < high; ++code) append_character(text, code);
    for (const auto& [bit, expression] : kExpressions) {
      const Pattern pattern = Pattern::regex(expression, "");
      size_t at = 0, code = low;
      for (Pattern::Match m; (m = pattern.find(text, at, scratch)).found; at = m.end) {
        const auto starts = [&](size_t from, size_t to) {  // characters between two places
          return static_cast<size_t>(
              std::count_if(text.begin() + static_cast<std::ptrdiff_t>(from),
                            text.begin() + static_cast<std::ptrdiff_t>(to),
                            [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
        };
        code += starts(at, m.begin);
        for (const size_t end = code + starts(m.begin, m.end); code < end; ++code) all[code] |= bit;
      }
    }
  }
  std::map<std::string_view, uint16_t> known;
  for (uint32_t page = 0; page < kCodes >> 8; ++page) {
    const std::string_view block(reinterpret_cast<const char*>(all.data()) + page * 256, 256);
    const auto [place, fresh] = known.emplace(block, static_cast<uint16_t>(known.size()));
    if (fresh) blocks_.insert(blocks_.end(), block.begin(), block.end());
    pages_.push_back(place->second);
  }
}

}  // namespace nibble::text
