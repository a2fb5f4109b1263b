// Code points, case and space after CPython: utf8proc's tables (the same Unicode 14), plus the rows
// where one character becomes several, the final sigma, and Python's own lists of white space.
#include "model/text/jinja_unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace nibble::jinja {

namespace {

struct SpecialCase {
  char32_t point;
  const char32_t* upper;
  const char32_t* title;
};
constexpr SpecialCase kSpecial[] = {
#include "model/text/jinja_special_case.inc"
};

const SpecialCase* special(char32_t c) {
  const auto* row = std::lower_bound(std::begin(kSpecial), std::end(kSpecial), c,
                                     [](const SpecialCase& r, char32_t x) { return r.point < x; });
  return row != std::end(kSpecial) && row->point == c ? row : nullptr;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<int32_t>(c)); }

bool between(char32_t c, char32_t low, char32_t high) { return c >= low && c <= high; }

void append_upper(std::u32string& out, char32_t c) {
  if (const SpecialCase* row = special(c)) {
    out += row->upper;
  } else {
    out += static_cast<char32_t>(utf8proc_toupper(static_cast<int32_t>(c)));
  }
}

void append_title(std::u32string& out, char32_t c) {
  if (const SpecialCase* row = special(c)) {
    out += row->title;
  } else {
    out += static_cast<char32_t>(utf8proc_totitle(static_cast<int32_t>(c)));
  }
}

bool is_cased(char32_t c) { return is_cased_upper(c) || is_cased_lower(c) || is_title_case(c); }

// Characters that do not end a word for the final sigma: marks, modifiers, apostrophe and its kin.
bool is_case_ignorable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2018 || c == 0x2019 ||
             c == 0x2024 || c == 0x2027;
  }
}

bool final_sigma(std::u32string_view text, size_t at) {
  size_t back = at;
  while (back > 0 && is_case_ignorable(text[back - 1])) --back;
  if (back == 0 || !is_cased(text[back - 1])) return false;
  size_t ahead = at + 1;
  while (ahead < text.size() && is_case_ignorable(text[ahead])) ++ahead;
  return ahead == text.size() || !is_cased(text[ahead]);
}

void append_lower(std::u32string& out, std::u32string_view text, size_t at) {
  const char32_t c = text[at];
  if (c == 0x130) {
    out += U"i\u0307";
  } else if (c == 0x3A3) {
    out += final_sigma(text, at) ? char32_t{0x3C2} : char32_t{0x3C3};
  } else {
    out += static_cast<char32_t>(utf8proc_tolower(static_cast<int32_t>(c)));
  }
}

bool is_line_end(char32_t c) {
  return between(c, 0x0A, 0x0D) || between(c, 0x1C, 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

size_t find_text(std::string_view text, std::string_view sub, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (sub.empty()) return from;
  const void* hit = memmem(text.data() + from, text.size() - from, sub.data(), sub.size());
  return hit == nullptr ? std::string_view::npos
                        : static_cast<size_t>(static_cast<const char*>(hit) - text.data());
}

char32_t next_point(std::string_view text, size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  if (lead < 0x80) return lead;
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
  char32_t c = more == 3 ? lead & 7 : more == 2 ? lead & 15 : more == 1 ? lead & 31 : lead;
  for (int i = 0; i < more && at < text.size(); ++i) {
    c = (c << 6) | (static_cast<unsigned char>(text[at++]) & 63);
  }
  return c;
}

void append_point(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 63));
    out += static_cast<char>(0x80 | (c & 63));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 63));
    out += static_cast<char>(0x80 | ((c >> 6) & 63));
    out += static_cast<char>(0x80 | (c & 63));
  }
}

int64_t count_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

std::u32string points(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) out += next_point(text, at);
  return out;
}

std::string utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char32_t c : text) append_point(out, c);
  return out;
}

bool is_space(char32_t c) {
  return between(c, 9, 13) || between(c, 0x1C, 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         between(c, 0x2000, 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_printable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

bool is_cased_upper(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LU || between(c, 0x2160, 0x216F) ||
         between(c, 0x24B6, 0x24CF) || between(c, 0x1F130, 0x1F149) ||
         between(c, 0x1F150, 0x1F169) || between(c, 0x1F170, 0x1F189);
}

bool is_cased_lower(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA ||
         between(c, 0x2B0, 0x2B8) || between(c, 0x2C0, 0x2C1) || between(c, 0x2E0, 0x2E4) ||
         c == 0x345 || c == 0x37A || between(c, 0x1D2C, 0x1D6A) || c == 0x1D78 ||
         between(c, 0x1D9B, 0x1DBF) || c == 0x2071 || c == 0x207F || between(c, 0x2090, 0x209C) ||
         between(c, 0x2170, 0x217F) || between(c, 0x24D0, 0x24E9);
}

bool is_title_case(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }

bool is_alphabetic(char32_t c) {
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_digit(char32_t c) {
  return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || between(c, 0x1369, 0x1371) ||
         c == 0x19DA || c == 0x2070 || between(c, 0x2074, 0x2079) || between(c, 0x2080, 0x2089) ||
         between(c, 0x2460, 0x2468) || between(c, 0x2474, 0x247C) || between(c, 0x2488, 0x2490) ||
         c == 0x24EA || between(c, 0x24F5, 0x24FD) || c == 0x24FF || between(c, 0x2776, 0x277E) ||
         between(c, 0x2780, 0x2788) || between(c, 0x278A, 0x2792) || between(c, 0x1F100, 0x1F10A);
}

bool is_numeric(char32_t c) {
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool is_identifier_start(char32_t c) {
  if (c < 0x80) return c == '_' || between(c, 'a', 'z') || between(c, 'A', 'Z');
  return is_alphabetic(c) || category(c) == UTF8PROC_CATEGORY_NL;
}

bool is_identifier_part(char32_t c) {
  if (c < 0x80) return is_identifier_start(c) || between(c, '0', '9');
  const auto k = category(c);
  return is_identifier_start(c) || k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_MN ||
         k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_PC;
}

bool is_word(char32_t c) { return c == '_' || is_alphabetic(c) || is_numeric(c); }

std::string upper(std::string_view text) {
  std::u32string out;
  for (char32_t c : points(text)) append_upper(out, c);
  return utf8(out);
}

std::string lower(std::string_view text) {
  std::u32string out;
  const std::u32string all = points(text);
  for (size_t i = 0; i < all.size(); ++i) append_lower(out, all, i);
  return utf8(out);
}

std::string title(std::string_view text) {
  std::u32string out;
  const std::u32string all = points(text);
  bool inside = false;
  for (size_t i = 0; i < all.size(); ++i) {
    if (inside) {
      append_lower(out, all, i);
    } else {
      append_title(out, all[i]);
    }
    inside = is_cased(all[i]);
  }
  return utf8(out);
}

std::string capitalize(std::string_view text) {
  std::u32string out;
  const std::u32string all = points(text);
  for (size_t i = 0; i < all.size(); ++i) {
    if (i == 0) {
      append_title(out, all[i]);
    } else {
      append_lower(out, all, i);
    }
  }
  return utf8(out);
}

std::string case_fold(std::string_view text) {
  std::u32string out;
  for (char32_t c : points(text)) {
    int32_t folded[8];
    int boundary = 0;
    const auto n =
        utf8proc_decompose_char(static_cast<int32_t>(c), folded, 8, UTF8PROC_CASEFOLD, &boundary);
    for (utf8proc_ssize_t i = 0; i < n; ++i) out += static_cast<char32_t>(folded[i]);
  }
  return utf8(out);
}

std::string swap_case(std::string_view text) {
  std::u32string out;
  const std::u32string all = points(text);
  for (size_t i = 0; i < all.size(); ++i) {
    if (is_cased_upper(all[i])) {
      append_lower(out, all, i);
    } else if (is_cased_lower(all[i])) {
      append_upper(out, all[i]);
    } else {
      out += all[i];
    }
  }
  return utf8(out);
}

std::string_view strip_left(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    if (!is_space(next_point(text, at))) return text.substr(start);
  }
  return {};
}

std::string_view strip_right(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t start = end - 1;
    while (start > 0 && (text[start] & 0xC0) == 0x80) --start;
    size_t at = start;
    if (!is_space(next_point(text, at))) break;
    end = start;
  }
  return text.substr(0, end);
}

std::string strip_chars(std::string_view text, std::string_view chars, bool left, bool right) {
  const std::u32string set = points(chars);
  const auto inside = [&](size_t at) {
    return set.find(next_point(text, at)) != std::u32string::npos;
  };
  while (left && !text.empty() && inside(0)) {
    size_t next = 0;
    next_point(text, next);
    text.remove_prefix(next);
  }
  while (right && !text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && (text[last] & 0xC0) == 0x80) --last;
    if (!inside(last)) break;
    text.remove_suffix(text.size() - last);
  }
  return std::string(text);
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t before = at;
    const char32_t c = next_point(text, at);
    if (!is_line_end(c)) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(start, (keep_ends ? at : before) - start));
    start = at;
  }
  if (start < text.size()) lines.emplace_back(text.substr(start));
  return lines;
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace nibble::jinja
