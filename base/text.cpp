// Numbers go through std::to_chars, which knows no locale and gives the shortest text that reads
// back as the same value. Misspelt words are found by edit distance with transpositions.
#include "base/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace nibble {
namespace {

// "2e-04" → "2e-4", "1e+20" → "1e20": std::to_chars pads the exponent as printf does.
void append_exponent_form(std::string& out, std::string_view text) {
  const size_t e = text.find('e');
  if (e == std::string_view::npos) {
    out.append(text);
    return;
  }
  out.append(text.substr(0, e + 1));
  size_t i = e + 1;
  if (i < text.size() && (text[i] == '+' || text[i] == '-')) {
    if (text[i] == '-') out.push_back('-');
    ++i;
  }
  while (i + 1 < text.size() && text[i] == '0') ++i;
  out.append(text.substr(i));
}

template <class T>
void append_real(std::string& out, T value) {
  std::array<char, 64> buffer;
  // Whole numbers a person writes without an exponent stay so: 100000, not 1e+05. Up to the
  // largest power of ten below the type's exact integers the digits are also the shortest.
  const double exact = sizeof(T) == 4 ? 1e7 : 1e15;
  const bool whole = std::abs(static_cast<double>(value)) < exact && value == std::trunc(value);
  const auto end = whole ? std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                         std::chars_format::fixed)
                         : std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  append_exponent_form(out, std::string_view(buffer.data(), end.ptr - buffer.data()));
}

template <class T>
void append_integer(std::string& out, T value) {
  std::array<char, 24> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  out.append(buffer.data(), end.ptr);
}

// Case and the choice between - and _ are not what makes a word another word.
std::string folded(std::string_view word) {
  std::string out(word);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '-') c = '_';
  }
  return out;
}

// Optimal string alignment: insert, delete, substitute, swap neighbours, each costing one.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, substitute});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

// Bytes of the UTF-8 character that starts with `lead`; 0 when none starts so.
int utf8_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// Whether the first `count` bytes can begin a character of the lead byte at [0]: overlong forms,
// surrogates and code points above 10FFFF show in the second byte.
bool utf8_so_far(std::string_view bytes, size_t count) {
  const auto lead = static_cast<unsigned char>(bytes[0]);
  for (size_t i = 1; i < count; ++i) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    unsigned char low = 0x80, high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (c < low || c > high) return false;
  }
  return true;
}

}  // namespace

void append(std::string& out, std::string_view text) { out.append(text); }
void append(std::string& out, double value) { append_real(out, value); }
void append(std::string& out, float value) { append_real(out, value); }
void append(std::string& out, int64_t value) { append_integer(out, value); }
void append(std::string& out, uint64_t value) { append_integer(out, value); }

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out.append(separator);
    out.append(parts[i]);
  }
  return out;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || text[i] == separator) {
      out.emplace_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  return out;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n\f\v";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

bool starts_with(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

bool ends_with(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

std::string fixed(double value, int digits) {
  if (!std::isfinite(value)) return cat(value);
  std::array<char, 512> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::fixed, std::clamp(digits, 0, 100));
  return std::string(buffer.data(), end.ptr);
}

std::string human_bytes(int64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  const double magnitude = std::abs(static_cast<double>(bytes));
  if (magnitude < 1024) return cat(bytes, " B");
  double value = magnitude;
  size_t unit = 0;
  // 1023.6 MiB would round to 1024: it is 1.00 GiB.
  while (value >= 1023.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return cat(bytes < 0 ? "-" : "", fixed(value, digits), " ", kUnits[unit]);
}

std::string human_count(int64_t n) {
  const std::string digits = cat(n);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t left = digits.size() - i;
    if (i > 0 && left % 3 == 0 && digits[i - 1] != '-') out.push_back(',');
    out.push_back(digits[i]);
  }
  return out;
}

std::string human_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "unknown time";
  if (seconds < 9.995) return cat(fixed(seconds, 2), " s");
  if (seconds < 59.95) return cat(fixed(seconds, 1), " s");
  const int64_t whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return cat(whole / 60, " min ", whole % 60, " s");
  const int64_t minutes = static_cast<int64_t>(std::llround(seconds / 60));
  const int64_t rest = minutes % 60;
  return cat(minutes / 60, " h ", rest < 10 ? "0" : "", rest, " min");
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string wanted = folded(word);
  if (wanted.empty() || wanted.size() > 256) return "";
  size_t best_distance = wanted.size() <= 2 ? 2 : wanted.size() <= 5 ? 3 : wanted.size() / 3 + 1;
  std::string best;
  for (const std::string& candidate : candidates) {
    const size_t gap = candidate.size() > wanted.size() ? candidate.size() - wanted.size()
                                                        : wanted.size() - candidate.size();
    if (gap >= best_distance) continue;
    const size_t distance = edit_distance(wanted, folded(candidate));
    // A word as far away as it is long shares nothing with it.
    if (distance < best_distance && distance < std::max(wanted.size(), candidate.size())) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

bool valid_utf8(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    const auto length = static_cast<size_t>(utf8_length(static_cast<unsigned char>(bytes[i])));
    if (length == 0 || i + length > bytes.size()) return false;
    if (!utf8_so_far(bytes.substr(i), length)) return false;
    i += length;
  }
  return true;
}

size_t complete_utf8_prefix(std::string_view bytes) {
  // Only the last three bytes can begin a character that is not whole yet. Bytes that can never
  // become one are not held back: waiting would not mend them.
  const size_t n = bytes.size();
  for (size_t back = 1; back <= 3 && back <= n; ++back) {
    const auto c = static_cast<unsigned char>(bytes[n - back]);
    if (c >= 0x80 && c <= 0xBF) continue;
    const auto length = static_cast<size_t>(utf8_length(c));
    if (length > back && utf8_so_far(bytes.substr(n - back), back)) return n - back;
    return n;
  }
  return n;
}

}  // namespace nibble
