#include "serving/http/json_place.h"

#include <vector>

#include "base/text.h"

namespace nibble::serving::http {
namespace {

size_t offset_of(std::string_view text, int line, int column) {
  size_t at = 0;
  for (int l = 1; l < line; ++l) {
    const size_t end = text.find('\n', at);
    if (end == std::string_view::npos) return text.size();
    at = end + 1;
  }
  for (int c = 1; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continue;
    if (c++ == column) break;
  }
  return at;
}

// A key is part of the client's input: only what looks like a field name is repeated.
std::string plain(std::string_view key) {
  if (key.empty() || key.size() > 64) return "?";
  for (const char c : key) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-';
    if (!ok) return "?";
  }
  return std::string(key);
}

struct Level {
  bool object = false;
  bool wants_key = false;
  int64_t index = 0;
  std::string_view key;
};

}  // namespace

std::string json_path_at(std::string_view text, int line, int column) {
  const size_t stop = offset_of(text, line, column);
  std::vector<Level> levels;
  for (size_t i = 0; i < text.size() && i <= stop; ++i) {
    const char c = text[i];
    if (c == '{' || c == '[') {
      levels.push_back({c == '{', c == '{', 0, {}});
    } else if ((c == '}' || c == ']') && i < stop) {
      if (!levels.empty()) levels.pop_back();
    } else if (c == ',' && i < stop && !levels.empty()) {
      ++levels.back().index;
      levels.back().wants_key = levels.back().object;
    } else if (c == '"') {
      const size_t begin = i + 1;
      for (++i; i < text.size() && text[i] != '"'; ++i)
        if (text[i] == '\\') ++i;
      if (!levels.empty() && levels.back().wants_key) {
        levels.back().key = text.substr(begin, std::min(i, text.size()) - begin);
        levels.back().wants_key = false;
      }
    }
  }
  std::string path;
  for (const Level& level : levels) {
    if (level.object) {
      if (level.key.empty()) break;
      path += cat(path.empty() ? "" : ".", plain(level.key));
    } else {
      path += cat("[", level.index, "]");
    }
  }
  return path;
}

}  // namespace nibble::serving::http
