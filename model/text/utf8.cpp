// Strict decoding after the table of well-formed sequences in the Unicode standard (3-7); broken
// input is replaced in one of the two ways the reference tokenizers have.
#include "model/text/utf8.h"

#include <utf8proc.h>

#include "base/text.h"

namespace nibble::text {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

uint8_t byte_at(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

// Length that a lead byte announces and the range allowed for the byte after it; 0 for no lead.
struct Lead {
  int bytes = 0;
  uint8_t low = 0x80, high = 0xBF;
};
Lead lead_of(uint8_t b) {
  if (b < 0x80) return {1};
  if (b >= 0xC2 && b <= 0xDF) return {2};
  if (b == 0xE0) return {3, 0xA0, 0xBF};
  if (b == 0xED) return {3, 0x80, 0x9F};
  if (b >= 0xE1 && b <= 0xEF) return {3};
  if (b == 0xF0) return {4, 0x90, 0xBF};
  if (b >= 0xF1 && b <= 0xF3) return {4};
  if (b == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

// How many bytes from `at` are the start of one well-formed character.
int good_bytes(std::string_view text, size_t at, const Lead& lead) {
  int good = 1;
  while (good < lead.bytes && at + good < text.size()) {
    const uint8_t b = byte_at(text, at + good);
    const bool fits = good == 1 ? b >= lead.low && b <= lead.high : (b & 0xC0) == 0x80;
    if (!fits) break;
    ++good;
  }
  return good;
}

}  // namespace

Character character_at(std::string_view text, size_t at) {
  if (at >= text.size()) return {};
  const uint8_t first = byte_at(text, at);
  if (first < 0x80) return {first, 1};
  const Lead lead = lead_of(first);
  if (lead.bytes == 0 || good_bytes(text, at, lead) != lead.bytes) return {};
  uint32_t code = first & (0xFFu >> (lead.bytes + 1));
  for (int i = 1; i < lead.bytes; ++i) code = code << 6 | (byte_at(text, at + i) & 0x3F);
  return {code, lead.bytes};
}

void append_character(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out.push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out.push_back(static_cast<char>(0xC0 | code >> 6));
    out.push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | code >> 12));
    out.push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else {
    out.push_back(static_cast<char>(0xF0 | code >> 18));
    out.push_back(static_cast<char>(0x80 | (code >> 12 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3F)));
  }
}

size_t append_lossy(std::string& out, std::string_view bytes, Broken broken, bool last) {
  size_t at = 0, clean = 0;  // [clean, at) is valid and not yet copied
  const auto copy_clean = [&] { out.append(bytes.substr(clean, at - clean)); };
  while (at < bytes.size()) {
    const Lead lead = lead_of(byte_at(bytes, at));
    const int good = lead.bytes == 0 ? 0 : good_bytes(bytes, at, lead);
    if (good > 0 && good == lead.bytes) {
      at += good;
      continue;
    }
    copy_clean();
    clean = at;
    if (good > 0 && at + good == bytes.size() && !last) return at;
    out.append(kReplacement);
    at += broken == Broken::per_byte || good == 0 ? 1 : good;
    clean = at;
  }
  copy_clean();
  return at;
}

std::string lossy_utf8(std::string_view bytes, Broken broken) {
  std::string out;
  out.reserve(bytes.size());
  append_lossy(out, bytes, broken, true);
  return out;
}

bool is_white_space(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_word(uint32_t c) {
  if (c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9)) return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

bool is_numeric(uint32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

}  // namespace nibble::text
