// Darts-clone: a unit holds a label, an offset to its children and whether a value lies there.
// Every index is checked, since the array comes from a file.
#include "model/text/character_map.h"

#include <utf8proc.h>

#include <cstring>

#include "base/errors.h"
#include "model/text/growth.h"
#include "model/text/utf8.h"

namespace nibble::text {

CharacterMap::CharacterMap(std::string_view bytes, std::string_view file) {
  if (bytes.empty()) return;
  // uint32 size of the trie in bytes, the trie, the replacements.
  uint32_t size = 0;
  const bool whole = bytes.size() > 4;
  if (whole) std::memcpy(&size, bytes.data(), 4);
  if (!whole || size % 4 != 0 || size == 0 || size > bytes.size() - 4) {
    throw UserError(file, cat("the character map of ", bytes.size(), " bytes is damaged"),
                    "fetch the file again", Exit::bad_data);
  }
  trie_.resize(size / 4);
  std::memcpy(trie_.data(), bytes.data() + 4, size);
  replacements_ = std::string(bytes.substr(4 + size));
}

template <class Visit>
void CharacterMap::walk(std::string_view text, size_t at, const Visit& visit) const {
  if (trie_.empty()) return;
  const auto offset = [](uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); };
  size_t node = offset(trie_[0]);
  for (size_t i = at; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte == 0) return;
    node ^= byte;
    if (node >= trie_.size()) return;
    const uint32_t unit = trie_[node];
    if ((unit & (1u << 31 | 0xFF)) != byte) return;
    node ^= offset(unit);
    if (node >= trie_.size()) return;
    if ((unit >> 8 & 1) == 0) continue;
    if (!visit(i + 1 - at, trie_[node] & 0x7FFFFFFFu)) return;
  }
}

CharacterMap::Rule CharacterMap::rule(size_t bytes, uint32_t value) const {
  if (bytes == 0 || value >= replacements_.size()) return {};
  const size_t end = replacements_.find('\0', value);
  const size_t stop = end == std::string::npos ? replacements_.size() : end;
  return {bytes, std::string_view(replacements_).substr(value, stop - value)};
}

CharacterMap::Rule CharacterMap::longest(std::string_view text, size_t at) const {
  size_t length = 0;
  uint32_t found = 0;
  walk(text, at, [&](size_t bytes, uint32_t value) {
    length = bytes;
    found = value;
    return true;
  });
  return rule(length, found);
}

CharacterMap::Rule CharacterMap::shortest(std::string_view text, size_t at) const {
  size_t length = 0;
  uint32_t found = 0;
  walk(text, at, [&](size_t bytes, uint32_t value) {
    length = bytes;
    found = value;
    return false;
  });
  return rule(length, found);
}

namespace {

// Calls part(MappedPart) for each part of the text.
template <class Part>
void each_part(std::string_view text, const CharacterMap& map, const Part& part) {
  constexpr size_t kShort = 6;  // bytes; a longer cluster is never looked up whole
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    utf8proc_int32_t state = 0;
    for (Character c = character_at(text, at);;) {
      check(c.bytes > 0, "map_clusters: text is valid UTF-8");
      end += c.bytes;
      if (end >= text.size()) break;
      const Character next = character_at(text, end);
      if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c.code),
                                           static_cast<utf8proc_int32_t>(next.code), &state)) {
        break;
      }
      c = next;
    }
    const std::string_view cluster = text.substr(at, end - at);
    at = end;
    if (cluster.size() < kShort) {
      if (const auto rule = map.shortest(cluster, 0); rule.bytes > 0) {
        part({cluster, rule.by, true});
        continue;
      }
    }
    for (size_t i = 0; i < cluster.size();) {
      const std::string_view one = cluster.substr(i, character_at(cluster, i).bytes);
      const auto rule = map.shortest(one, 0);
      part({one, rule.bytes > 0 ? rule.by : one, rule.bytes > 0});
      i += one.size();
    }
  }
}

}  // namespace

std::string map_clusters(std::string_view text, const CharacterMap& map) {
  std::string out;
  out.reserve(text.size());
  each_part(text, map, [&](const MappedPart& part) {
    out += part.now;
    check_growth(out.size(), text.size());
  });
  return out;
}

std::vector<MappedPart> mapped_parts(std::string_view text, const CharacterMap& map) {
  std::vector<MappedPart> parts;
  each_part(text, map, [&](const MappedPart& part) { parts.push_back(part); });
  return parts;
}

}  // namespace nibble::text
