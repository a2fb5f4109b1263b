// Command R7B and Command A: Cohere's blocks without normalised q and k; three layers of four see a
// window and turn, the fourth sees everything and has no positions.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_cohere2(ConfigReader& config, Blueprint& b) {
  read_cohere(config, b);
  const int64_t pattern =
      config.integer("sliding_window_pattern", config.integer("_sliding_window_pattern", 4));
  read_windows(config, b, read_window(config, 4096),
               [&](int64_t i) { return (i + 1) % pattern != 0; });
  for (LayerBlueprint& layer : b.layer)
    if (layer.window == 0) layer.rope = -1;
  // Files of the first release say what the code never varied.
  config.only("position_embedding_type", "rope_gptj",
              "only interleaved rotary positions are known");
  config.only("order_of_interleaved_layers", "local_attn_first", "only that order is known");
  config.only("use_parallel_block", true, "only attention beside the MLP is known");
  config.only("use_gated_activation", true, "only the gated MLP is known");
  for (const char* key : {"use_embedding_sharing", "use_parallel_embedding", "layer_switch"})
    config.understood(key);
}

}  // namespace nibble
