// quantization_config of a config.json, as transformers writes it for bitsandbytes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace nibble {

struct BnbConfig {
  bool four_bit = false, eight_bit = false;
  std::string compute_dtype = "float32", storage = "uint8", type = "fp4";
  bool double_quant = false;
  bool cpu_offload = false;  // says where modules lie, not what they hold: without effect here
  std::optional<std::vector<std::string>> skip;
  double threshold = 6.0;  // llm_int8_threshold
};

// None where the config has none. Missing keys have transformers' defaults; unknown keys, another
// method and contradictions are UserErrors (exit 65) that name key and value.
std::optional<BnbConfig> read_bnb_config(const Json& config, const std::string& where);

// All 13 keys in transformers' order.
Json bnb_config_json(const BnbConfig& config);
// Puts it into a config.json, where a sorted one has it.
void set_bnb_config(Json& config, const BnbConfig& value);

}  // namespace nibble
