// JSON that keeps key order, refuses duplicate keys and deep nesting, and names the place of a
// mistake. Include <nlohmann/json.hpp> in the .cpp that touches values; headers need only this.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace nibble {

using Json = nlohmann::ordered_json;

// Throws UserError(where = name:line:column, exit 65) on bad syntax, duplicate keys, nesting deeper
// than 64, invalid UTF-8, or a number that overflows (1e400).
Json parse_json(std::string_view text, std::string_view name);
Json read_json(const std::string& path);  // missing file: exit 66

// As Python's json.dumps(indent=2, ensure_ascii=False) writes it; bad UTF-8 becomes U+FFFD.
std::string dump_json(const Json& value, int indent = -1);

}  // namespace nibble
