// Cuts that no pattern describes: where the script changes, every n characters.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble::text {

using Cuts = std::vector<std::pair<size_t, size_t>>;  // where each part begins and ends, in order

void cut_scripts(std::string_view text, Cuts& parts);
void cut_fixed(std::string_view text, size_t characters, Cuts& parts);

}  // namespace nibble::text
