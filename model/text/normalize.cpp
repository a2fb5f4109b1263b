// Unicode forms through utf8proc's tables; marks are put in order by a stable sort of each run,
// since the library's own ordering takes quadratic time on long runs.
#include "model/text/normalize.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/errors.h"
#include "model/text/growth.h"
#include "model/text/normal_form.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

using Codes = std::vector<utf8proc_int32_t>;

// Characters with a combining class or a mapping that came after Unicode 9. The Hugging Face
// library normalizes with tables of that age, and models were trained on what it makes: these stay
// as they are and stand in the way of reordering and composition like any other letter.
constexpr int32_t kYoung[][2] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},
    {0xA82C, 0xA82C},   {0xAB69, 0xAB69},   {0x10781, 0x10785}, {0x10787, 0x107B0},
    {0x107B2, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF},
    {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B},
    {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11938, 0x11938},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E030, 0x1E06D},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};

int combining_class(utf8proc_int32_t code) { return utf8proc_get_property(code)->combining_class; }

void order_marks(Codes& codes) {
  for (size_t i = 0; i < codes.size();) {
    if (combining_class(codes[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < codes.size() && combining_class(codes[end]) != 0) ++end;
    std::stable_sort(codes.begin() + static_cast<std::ptrdiff_t>(i),
                     codes.begin() + static_cast<std::ptrdiff_t>(end),
                     [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    i = end;
  }
}

void decompose(uint32_t code, bool compatibility, Codes& codes) {
  constexpr int kLongest = 32;  // U+FDFA, the longest compatibility mapping, has 18 characters
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0));
  utf8proc_int32_t buffer[kLongest];
  int boundary = 0;
  const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), buffer, kLongest,
                                         options, &boundary);
  check(n >= 0 && n <= kLongest, "unicode_normalize: decomposition");
  codes.insert(codes.end(), buffer, buffer + n);
}

// Orders, composes and writes out what was gathered.
void settle(Codes& codes, bool compose, std::string& out) {
  order_marks(codes);
  if (compose && !codes.empty()) {
    const auto n = utf8proc_normalize_utf32(
        codes.data(), static_cast<utf8proc_ssize_t>(codes.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    check(n >= 0, "unicode_normalize: composition");
    codes.resize(static_cast<size_t>(n));
  }
  for (const auto code : codes) append_character(out, static_cast<uint32_t>(code));
  codes.clear();
}

}  // namespace

bool changed_after_unicode_9(uint32_t code) {
  if (code < 0x7FD) return false;
  const auto* after =
      std::upper_bound(std::begin(kYoung), std::end(kYoung), static_cast<int32_t>(code),
                       [](int32_t c, const int32_t(&range)[2]) { return c < range[0]; });
  return after != std::begin(kYoung) && static_cast<int32_t>(code) <= (*(after - 1))[1];
}

std::string Normalizer::run(std::string_view text, bool& first, MatchScratch& scratch) const {
  std::string now(text);
  for (const NormalizeStep& step : steps_) {
    now = step(now, first, scratch);
    check_growth(now.size(), text.size());
  }
  return now;
}

namespace {

std::string normalize_all(std::string_view text, UnicodeForm form) {
  const bool compatibility = form == UnicodeForm::nfkc || form == UnicodeForm::nfkd;
  const bool compose = form == UnicodeForm::nfc || form == UnicodeForm::nfkc;
  std::string out;
  out.reserve(text.size());
  Codes codes;
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    check(c.bytes > 0, "unicode_normalize: text is valid UTF-8");
    at += c.bytes;
    if (changed_after_unicode_9(c.code)) {
      settle(codes, compose, out);
      append_character(out, c.code);
    } else {
      decompose(c.code, compatibility, codes);
    }
  }
  settle(codes, compose, out);
  return out;
}

// What must change is cut out and normalized by itself.
std::string normalize_nfc(std::string_view text) {
  const QuietCharacters& quiet = QuietCharacters::get();
  std::string out;
  size_t done = 0;
  while (done < text.size()) {
    const auto [begin, end] = quiet.next_loud(text, done);
    out.append(text.substr(done, begin - done));
    if (end > begin) out += normalize_all(text.substr(begin, end - begin), UnicodeForm::nfc);
    done = end;
  }
  return out;
}

}  // namespace

std::string unicode_normalize(std::string_view text, UnicodeForm form) {
  // Below U+0080 nothing changes in any form; below U+0300 (first byte under CC) nothing in NFC.
  const uint8_t unchanged = form == UnicodeForm::nfc ? 0xCC : 0x80;
  if (std::all_of(text.begin(), text.end(), [&](char c) {
        const auto b = static_cast<uint8_t>(c);
        return b < unchanged;
      })) {
    return std::string(text);
  }
  return form == UnicodeForm::nfc ? normalize_nfc(text) : normalize_all(text, form);
}

// Lower case of letters that came after the library's tables.
uint32_t young_lowercase(uint32_t code) {
  if (code >= 0x10D50 && code <= 0x10D65) return code + 0x20;
  if (code >= 0x16EA0 && code <= 0x16EB8) return code + 0x1B;
  constexpr uint32_t kPairs[][2] = {{0x1C89, 0x1C8A}, {0xA7CB, 0x264},  {0xA7CC, 0xA7CD},
                                    {0xA7CE, 0xA7CF}, {0xA7D2, 0xA7D3}, {0xA7D4, 0xA7D5},
                                    {0xA7DA, 0xA7DB}, {0xA7DC, 0x19B}};
  for (const auto& pair : kPairs) {
    if (code == pair[0]) return pair[1];
  }
  return code;
}

std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    check(c.bytes > 0, "lowercase: text is valid UTF-8");
    at += c.bytes;
    if (c.code == 0x130) {  // the only character whose lower case is two: i and a dot above
      out += "i\xCC\x87";
    } else {
      const auto lower =
          static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.code)));
      append_character(out, lower == c.code && lower >= 0x1C89 ? young_lowercase(lower) : lower);
    }
  }
  return out;
}

std::string strip_white_space(std::string_view text, bool left, bool right) {
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const Character c = character_at(text, begin);
    if (!is_white_space(c.code) || c.bytes == 0) break;
    begin += c.bytes;
  }
  while (right && begin < end) {
    size_t start = end - 1;
    while (start > begin && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
    const Character c = character_at(text, start);
    if (c.bytes == 0 || !is_white_space(c.code)) break;
    end = start;
  }
  return std::string(text.substr(begin, end - begin));
}

std::string replace_all(std::string_view text, const Pattern& pattern, std::string_view content,
                        MatchScratch& scratch) {
  std::string out;
  out.reserve(text.size());
  size_t copied = 0, from = 0;
  while (from <= text.size()) {
    const Pattern::Match m = pattern.find(text, from, scratch);
    if (!m.found) break;
    out.append(text.substr(copied, m.begin - copied));
    out.append(content);
    check_growth(out.size(), text.size());
    copied = m.end;
    from = m.end;
    if (m.end == m.begin) {  // an empty match: step over one character
      const Character c = character_at(text, m.end);
      from += c.bytes > 0 ? c.bytes : 1;
    }
  }
  out.append(text.substr(copied));
  return out;
}

}  // namespace nibble::text
