// SentencePiece's precompiled map of character sequences: a double array that finds the rules which
// begin at a place, and the texts they write. The two libraries that use it pick different rules.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::text {

class CharacterMap {
 public:
  CharacterMap() = default;  // no rules
  // Throws UserError (exit 65, naming `file`) for a map that is damaged.
  CharacterMap(std::string_view bytes, std::string_view file);

  struct Rule {
    size_t bytes = 0;  // of the text that is replaced; 0: no rule
    std::string_view by;
  };
  Rule longest(std::string_view text, size_t at) const;   // SentencePiece
  Rule shortest(std::string_view text, size_t at) const;  // the Hugging Face library
  bool empty() const { return trie_.empty(); }

 private:
  Rule rule(size_t bytes, uint32_t value) const;
  template <class Visit>
  void walk(std::string_view text, size_t at, const Visit& visit) const;

  std::vector<uint32_t> trie_;  // Darts double array
  std::string replacements_;    // NUL-terminated strings
};

// The map as the Hugging Face library applies it: short clusters of characters whole, by the first
// rule that fits their beginning; else character by character.
std::string map_clusters(std::string_view text, const CharacterMap& map);

// The same part by part: what stood there, what stands there now, whether by a rule.
struct MappedPart {
  std::string_view old, now;
  bool rule = false;
};
std::vector<MappedPart> mapped_parts(std::string_view text, const CharacterMap& map);

}  // namespace nibble::text
