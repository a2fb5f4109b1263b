// Qwen2 and Qwen2.5 without their windows: Llama's blocks with biases on q, k and v.
#include <nlohmann/json.hpp>

#include "model/families/families.h"

namespace nibble {

void read_qwen2(ConfigReader& config, Blueprint& b) {
  read_llama_blocks(config, b);
  b.attention_bias = true;
  b.attention_out_bias = false;
  config.only("use_sliding_window", false, "sliding windows are not supported yet");
  config.understood("sliding_window");     // unused while use_sliding_window is false
  config.understood("max_window_layers");  // likewise
}

}  // namespace nibble
