// One string holds every character in order; what an expression matches in it are the ranges of its
// class. That takes some milliseconds, once.
#include "model/text/character_class.h"

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
  for (const auto& asked : kAsked) {
    const uint32_t low = asked.first, high = asked.second;
    std::string text;
    for (uint32_t code = low; code < high; ++code) append_character(text, code);
    for (const auto& [bit, expression] : kExpressions) {
      const Pattern pattern = Pattern::regex(expression, "");
      const auto code_at = [&](size_t at) {
        return at < text.size() ? character_at(text, at).code : high;
      };
      size_t at = 0;
      for (Pattern::Match m; (m = pattern.find(text, at, scratch)).found; at = m.end) {
        const uint32_t end = code_at(m.end);
        for (uint32_t code = code_at(m.begin); code < end; ++code) all[code] |= bit;
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
