// Qwen2 and Qwen2.5: Llama's blocks with biases on q, k and v; the upper layers may see a window.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_qwen2(ConfigReader& config, Blueprint& b) {
  read_llama_blocks(config, b);
  b.attention_bias = true;
  b.attention_out_bias = false;
  const bool slides = config.boolean("use_sliding_window", false);
  const int64_t window = read_window(config, 4096);
  const int64_t from = config.count("max_window_layers", 28);
  read_windows(config, b, slides ? window : 0, [&](int64_t i) { return slides && i >= from; });
}

}  // namespace nibble
