// Each is one pass over the characters; the classes are those of the Hugging Face library, whose
// tables are of the time when the models were made.
#include "model/text/normalize_classes.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "base/errors.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

// write(out, code, character): what a character becomes.
template <class Write>
std::string each_character(std::string_view text, const Write& write) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    check(c.bytes > 0, "normalize: text is valid UTF-8");
    write(out, c.code, text.substr(at, c.bytes));
    at += c.bytes;
  }
  return out;
}

#include "model/text/character_classes.inc"

template <size_t N>
bool in_ranges(const uint32_t (&ranges)[N][2], uint32_t code) {
  const auto* after =
      std::upper_bound(std::begin(ranges), std::end(ranges), code,
                       [](uint32_t c, const uint32_t(&range)[2]) { return c < range[0]; });
  return after != std::begin(ranges) && code <= (*(after - 1))[1];
}

bool is_control(uint32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return c < 0x20 || c == 0x7F || in_ranges(kControls, c);
}

bool is_chinese(uint32_t c) {
  constexpr uint32_t kBlocks[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                     {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                     {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  for (const auto& block : kBlocks) {
    if (c >= block[0] && c <= block[1]) return true;
  }
  return false;
}

bool nmt_drops(uint32_t c) {
  return (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
         c == 0x8F || c == 0x9F;
}

bool nmt_spaces(uint32_t c) {
  return c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
         c == 0xFFFD;
}

}  // namespace

bool is_punctuation(uint32_t c) {
  if (c < 0x80)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
  return in_ranges(kPunctuation, c);
}

std::string strip_accents(std::string_view text) {
  return each_character(text, [](std::string& out, uint32_t code, std::string_view character) {
    if (!in_ranges(kMarks, code)) out += character;
  });
}

std::string strip_nonspacing(std::string_view text) {
  return each_character(text, [](std::string& out, uint32_t code, std::string_view character) {
    if (!in_ranges(kNonspacing, code)) out += character;
  });
}

std::string clean_controls(std::string_view text) {
  return each_character(text, [](std::string& out, uint32_t code, std::string_view character) {
    if (code == 0 || code == 0xFFFD || is_control(code)) return;
    out += is_white_space(code) ? std::string_view(" ") : character;
  });
}

std::string space_chinese(std::string_view text) {
  return each_character(text, [](std::string& out, uint32_t code, std::string_view character) {
    const bool spaced = is_chinese(code);
    if (spaced) out += ' ';
    out += character;
    if (spaced) out += ' ';
  });
}

std::string nmt_clean(std::string_view text) {
  return each_character(text, [](std::string& out, uint32_t code, std::string_view character) {
    if (nmt_drops(code)) return;
    out += nmt_spaces(code) ? std::string_view(" ") : character;
  });
}

}  // namespace nibble::text
