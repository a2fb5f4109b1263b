// A blueprint in words: what `nibble inspect` says of a model, what docs/models.md says of a
// family.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/blueprint.h"

namespace nibble {

// ("attention", "32 heads on 8 key heads of 128 columns, …"), one fact a line, in reading order.
std::vector<std::pair<std::string, std::string>> describe(const Blueprint& b);

// Layers as ranges: "0-2 4", "all", "none".
std::string layer_list(const std::vector<bool>& layers);

}  // namespace nibble
