// UTF-8 one character at a time, and the classes of characters that tokenizers ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nibble::text {

struct Character {
  uint32_t code = 0;
  int bytes = 0;  // 0: no whole valid character here
};
Character character_at(std::string_view text, size_t at);  // strict: no surrogates, shortest form
void append_character(std::string& out, uint32_t code);

// How many U+FFFD a broken sequence becomes: one for each longest start of a character (Rust,
// WHATWG), or one for every byte (SentencePiece).
enum class Broken { per_start, per_byte };

// Appends `bytes` with broken sequences replaced. Unless `last`, an unfinished character at the end
// is left; returns how many bytes were used.
size_t append_lossy(std::string& out, std::string_view bytes, Broken broken, bool last);
std::string lossy_utf8(std::string_view bytes, Broken broken);

bool is_white_space(uint32_t code);  // Unicode White_Space
bool is_word(uint32_t code);         // \w of Unicode regular expressions
bool is_numeric(uint32_t code);      // Nd, Nl, No
bool is_punctuation(uint32_t code);  // ASCII punctuation or category P

}  // namespace nibble::text
