// Qwen3: as Qwen2 without the biases, q and k of every head normalised before they turn.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_qwen3(ConfigReader& config, Blueprint& b) {
  if (!config.has("head_dim")) config.refuse("head_dim", "is missing", "Qwen3 files give it");
  read_llama_blocks(config, b);
  b.attention_bias = config.boolean("attention_bias", false);
  b.attention_out_bias = b.attention_bias;
  b.qk_norm = QkNorm::head;
  b.names[NormRole::q] = "self_attn.q_norm";
  b.names[NormRole::k] = "self_attn.k_norm";
  const bool slides = config.boolean("use_sliding_window", false);
  const int64_t window = read_window(config, 4096);
  const int64_t from = config.count("max_window_layers", 28);
  read_windows(config, b, slides ? window : 0, [&](int64_t i) { return slides && i >= from; });
}

}  // namespace nibble
