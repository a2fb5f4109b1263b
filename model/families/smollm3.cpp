// SmolLM3: Llama's blocks; every few layers have no positions at all.
#include <nlohmann/json.hpp>

#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_smollm3(ConfigReader& config, Blueprint& b) {
  RopeDefaults rope;
  rope.theta = 2e6;
  read_llama_blocks(config, b, true, rope);
  b.attention_bias = config.boolean("attention_bias", false);
  b.attention_out_bias = b.attention_bias;
  b.mlp_bias = config.boolean("mlp_bias", false);
  std::vector<bool> turns;
  const int64_t interval = config.integer("no_rope_layer_interval", 4);
  if (const Json* list = config.raw("no_rope_layers")) {
    if (!list->is_array() || static_cast<int64_t>(list->size()) < b.layers)
      config.refuse("no_rope_layers", cat("must list num_hidden_layers = ", b.layers, " flags"));
    for (const Json& flag : *list) {
      if (flag != 0 && flag != 1) config.refuse("no_rope_layers", cat("holds ", flag.dump()));
      turns.push_back(flag == 1);
    }
  } else {
    for (int64_t i = 0; i < b.layers; ++i) turns.push_back((i + 1) % interval != 0);
  }
  const bool slides = config.boolean("use_sliding_window", false);
  const int64_t window = slides ? read_window(config, 0) : (config.understood("sliding_window"), 0);
  read_windows(config, b, window,
               [&](int64_t i) { return window > 0 && !turns[static_cast<size_t>(i)]; });
  for (int64_t i = 0; i < b.layers; ++i)
    if (!turns[static_cast<size_t>(i)]) b.layer[static_cast<size_t>(i)].rope = -1;
}

}  // namespace nibble
