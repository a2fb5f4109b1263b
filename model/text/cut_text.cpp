// A part begins where a character's script differs from the last one that had a script; characters
// without one (spaces, and what came after Unicode 9) go with what precedes them.
#include "model/text/cut_text.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "model/text/utf8.h"

namespace nibble::text {

namespace {

struct ScriptRange {
  uint32_t first, last;
  int script;
};
constexpr ScriptRange kScripts[] = {
#include "model/text/unicode_scripts.inc"
};

int script_of(uint32_t code) {  // 0: none
  const auto* after =
      std::upper_bound(std::begin(kScripts), std::end(kScripts), code,
                       [](uint32_t c, const ScriptRange& range) { return c < range.first; });
  if (after == std::begin(kScripts)) return 0;
  const ScriptRange& range = *(after - 1);
  return code <= range.last ? range.script : 0;
}

size_t bytes_at(std::string_view text, size_t at) {
  return static_cast<size_t>(std::max(character_at(text, at).bytes, 1));
}

}  // namespace

void cut_scripts(std::string_view text, Cuts& parts) {
  int last = 0;
  for (size_t at = 0; at < text.size(); at += bytes_at(text, at)) {
    const int script = script_of(character_at(text, at).code);
    if (script != 0 && script != last) {
      // What stands before the first script belongs to no part: the library drops it.
      if (!parts.empty()) parts.back().second = at;
      parts.emplace_back(at, text.size());
      last = script;
    }
  }
}

void cut_fixed(std::string_view text, size_t characters, Cuts& parts) {
  size_t held = 0, begin = 0;
  for (size_t at = 0; at < text.size();) {
    at += bytes_at(text, at);
    if (++held < characters && at < text.size()) continue;
    parts.emplace_back(begin, at);
    begin = at;
    held = 0;
  }
}

}  // namespace nibble::text
