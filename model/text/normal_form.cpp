// A character is quiet when it is a starter, is its own NFC, and neither it nor the first character
// of its decomposition can be the second half of a composition. utf8proc is asked, once.
#include "model/text/normal_form.h"

#include <utf8proc.h>

#include <algorithm>

#include "model/text/normalize.h"
#include "model/text/utf8.h"

namespace nibble::text {

const QuietCharacters& QuietCharacters::get() {
  static const QuietCharacters quiet;
  return quiet;
}

QuietCharacters::QuietCharacters() : bits_(kCodes / 64) {
  constexpr int kMost = 8;  // the longest canonical decomposition has 4 characters
  std::vector<uint32_t> first(kCodes, 0);
  std::vector<bool> second(kCodes, false);
  for (uint32_t code = 0; code < kCodes; ++code) {
    const auto c = static_cast<utf8proc_int32_t>(code);
    if (!utf8proc_codepoint_valid(c) || utf8proc_get_property(c)->combining_class != 0) continue;
    utf8proc_int32_t parts[kMost];
    int boundary = 0;
    auto n = utf8proc_decompose_char(c, parts, kMost, UTF8PROC_DECOMPOSE, &boundary);
    if (n < 1 || n > kMost) continue;
    const auto head = static_cast<uint32_t>(parts[0]), tail = static_cast<uint32_t>(parts[n - 1]);
    if (n > 1) {
      n = utf8proc_normalize_utf32(
          parts, n, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
      if (n == 1 && parts[0] == c && tail < kCodes) second[tail] = true;
    }
    if (n == 1 && parts[0] == c && !changed_after_unicode_9(code)) first[code] = head + 1;
  }
  for (uint32_t code = 0; code < kCodes; ++code) {
    const bool quiet = first[code] != 0 && !second[code] && !second[first[code] - 1];
    bits_[code / 64] |= static_cast<uint64_t>(quiet) << (code % 64);
  }
}

QuietCharacters::Stretch QuietCharacters::next_loud(std::string_view text, size_t from) const {
  size_t last = from;  // where the last quiet character begins
  const auto quiet_at = [&](size_t at, size_t& bytes) {
    const Character c = character_at(text, at);
    bytes = static_cast<size_t>(std::max(c.bytes, 1));
    return has(c.code);
  };
  size_t bytes = 1;
  for (size_t at = from; at < text.size(); at += bytes) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      bytes = 1;
    } else if (!quiet_at(at, bytes)) {
      size_t end = at + bytes;
      while (end < text.size() && !quiet_at(end, bytes)) end += bytes;
      return {last, end};
    }
    last = at;
  }
  return {text.size(), text.size()};
}

}  // namespace nibble::text
