// What the patterns of tokenizers ask about a character, as one table look-up.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace nibble::text {

// The classes are PCRE2's own answers to these expressions, asked once: a scanner that reads this
// table and PCRE2 on the same machine know the same Unicode.
enum CharacterClass : uint8_t {
  kLetter = 1,        // \p{L}
  kNumber = 2,        // \p{N}
  kWhiteSpace = 4,    // \s
  kUpperOrBoth = 8,   // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
  kLowerOrBoth = 16,  // [\p{Ll}\p{Lm}\p{Lo}\p{M}]
  kMark = 32,         // \p{M}
};

class CharacterClasses {
 public:
  static const CharacterClasses& get();

  uint8_t of(uint32_t code) const { return blocks_[pages_[code >> 8] * 256u + (code & 255)]; }
  uint8_t of_ascii(uint8_t byte) const { return blocks_[byte]; }  // below 0x80

 private:
  CharacterClasses();
  std::vector<uint16_t> pages_;  // by code / 256; page 0 is block 0
  std::vector<uint8_t> blocks_;  // 256 characters each, alike ones once
};

}  // namespace nibble::text
