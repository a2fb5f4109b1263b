// Values of a recipe's Optimizer section that are more than one scalar: optim_args, the overrides,
// a number of bytes. Each is read from YAML with the place of every mistake, and written back.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/settings.h"
#include "optim/overrides.h"

namespace nibble {

// A map {momentum: 0.9, nesterov: true}, or transformers' text "momentum=0.9,nesterov=true".
// `places` gets where each key stands.
void read_optim_args(const YamlNode& node, Settings& settings, RuleOptions& options,
                     std::map<std::string, Where>& places);
std::string optim_args_text(const RuleOptions& options);

void read_overrides(const YamlNode& node, Settings& settings,
                    std::vector<PlacedOverride>& overrides);
std::string overrides_text(const std::vector<PlacedOverride>& overrides);

// 1048576, "512MiB", "1.5 GiB", "2GB"; none where it is no number of bytes.
std::optional<int64_t> bytes_of(std::string_view text);

}  // namespace nibble
