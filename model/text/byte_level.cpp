// The alphabet's table is computed once, at compile time.
#include "model/text/byte_level.h"

#include <array>

#include "model/text/utf8.h"

namespace nibble::text {

namespace {

constexpr uint32_t kHighest = 0x143;  // 256 + the 68 bytes that are not printable, - 1

struct Alphabet {
  std::array<uint16_t, 256> character{};
  std::array<int16_t, kHighest + 1> byte{};
};

constexpr Alphabet make_alphabet() {
  Alphabet a;
  for (auto& b : a.byte) b = -1;
  uint16_t next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    a.character[b] = printable ? static_cast<uint16_t>(b) : next++;
    a.byte[a.character[b]] = static_cast<int16_t>(b);
  }
  return a;
}
constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

uint32_t character_of_byte(uint8_t byte) { return kAlphabet.character[byte]; }

std::optional<uint8_t> byte_of_character(uint32_t code) {
  if (code > kHighest || kAlphabet.byte[code] < 0) return std::nullopt;
  return static_cast<uint8_t>(kAlphabet.byte[code]);
}

std::string to_byte_characters(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char b : bytes) append_character(out, character_of_byte(static_cast<uint8_t>(b)));
  return out;
}

std::optional<std::string> from_byte_characters(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const auto byte = c.bytes > 0 ? byte_of_character(c.code) : std::nullopt;
    if (!byte) return std::nullopt;
    out.push_back(static_cast<char>(*byte));
    at += c.bytes;
  }
  return out;
}

}  // namespace nibble::text
