#include "trainer/json_lines.h"

#include <nlohmann/json.hpp>

#include "base/files.h"

namespace nibble {

void for_each_json_line(const std::string& path,
                        const std::function<void(const Json&, const std::string& where)>& use) {
  const std::string text = read_file(path);
  int line = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    const std::string_view row = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++line;
    if (trim(row).empty()) continue;
    const std::string where = cat(path, ":", line);
    use(parse_json(row, where), where);
  }
}

}  // namespace nibble
