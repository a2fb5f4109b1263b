// Rules of a quantization plan as recipes and flags write them:
// [{match: "model.layers.*.mlp.down_proj", type: int8}, {match: lm_head, type: none}].
#pragma once

#include <string>
#include <vector>

#include "base/settings.h"
#include "quant/plan.h"

namespace nibble {

// Formats that values can be turned into, by name.
std::vector<std::string> quant_type_names();

// Mistakes go to `settings`, each with its place.
void read_quant_rules(const YamlNode& node, Settings& settings, std::vector<QuantRule>& rules);
std::string quant_rules_text(const std::vector<QuantRule>& rules);  // as YAML

// The same, for text on a command line; `where` is the flag. Mistakes are thrown.
std::vector<QuantRule> parse_quant_rules(const std::string& text, const std::string& where);

}  // namespace nibble
