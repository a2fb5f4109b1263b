// Small text: joining values into a message, numbers and units as a person reads them, the nearest
// word to a misspelt one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace nibble {

void append(std::string& out, std::string_view text);
void append(std::string& out, double value);  // shortest decimal that reads back the same
void append(std::string& out, float value);   // the same for a float: 0.1f is 0.1
void append(std::string& out, int64_t value);
void append(std::string& out, uint64_t value);

template <class T>
void append_any(std::string& out, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    append(out, std::string_view(value ? "true" : "false"));
  } else if constexpr (std::is_same_v<T, char>) {
    out.push_back(value);
  } else if constexpr (std::is_enum_v<T>) {
    append(out, static_cast<int64_t>(value));
  } else if constexpr (std::is_same_v<T, float>) {
    append(out, value);
  } else if constexpr (std::is_floating_point_v<T>) {
    append(out, static_cast<double>(value));
  } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    append(out, static_cast<int64_t>(value));
  } else if constexpr (std::is_integral_v<T>) {
    append(out, static_cast<uint64_t>(value));
  } else if constexpr (std::is_convertible_v<T, std::string_view>) {
    append(out, std::string_view(value));
  } else {
    append(out, std::string_view(value.str()));  // anything with .str(): Where, Shape, …
  }
}

// cat("lora_r must be at least 1, got ", r): strings, numbers, bools and anything with .str().
template <class... T>
std::string cat(const T&... parts) {
  std::string out;
  (append_any(out, parts), ...);
  return out;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
bool starts_with(std::string_view text, std::string_view prefix);
bool ends_with(std::string_view text, std::string_view suffix);

std::string human_bytes(int64_t bytes);       // "522 MiB", "1.31 GiB"
std::string human_count(int64_t n);           // "52,002"
std::string human_duration(double seconds);   // "0.21 s", "3 min 4 s", "1 h 09 min"
std::string fixed(double value, int digits);  // fixed(1.4125, 3) == "1.413"

// The candidate with the smallest edit distance (transpositions count one), or "" when none is near
// enough to be meant.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

bool valid_utf8(std::string_view bytes);
// Splits off the longest prefix that ends on a whole UTF-8 character; what is left may be the start
// of one (at most 3 bytes).
size_t complete_utf8_prefix(std::string_view bytes);

}  // namespace nibble
