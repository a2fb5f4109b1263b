// Where in a JSON text a mistake lies, as a path ("messages[2].content"): what an API error calls
// param. Works on text that does not parse, which is when it is needed.
#pragma once

#include <string>
#include <string_view>

namespace nibble::serving::http {

// line and column count from 1, columns in characters. "" when the place is at the top level. Keys
// that are no plain names are written as ?.
std::string json_path_at(std::string_view text, int line, int column);

}  // namespace nibble::serving::http
