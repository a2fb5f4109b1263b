// JSONL: one JSON value a line, blank lines passed over, every mistake with its file:line.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"

namespace nibble {

void for_each_json_line(const std::string& path,
                        const std::function<void(const Json&, const std::string& where)>& use);

}  // namespace nibble
