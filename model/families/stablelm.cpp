// StableLM: LayerNorm with bias before SwiGLU blocks, part of each head turns; some have attention
// and MLP side by side, some normalise q and k with weights of every head.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_stablelm(ConfigReader& config, Blueprint& b) {
  read_sizes(config, b);
  b.norm = NormKind::layer;
  b.norm_bias = true;
  b.norm_eps = config.number("layer_norm_eps", 1e-5);
  b.activation = read_activation(config, "hidden_act", "silu");
  b.attention_bias = config.boolean("use_qkv_bias", false);
  b.attention_out_bias = false;
  RopeDefaults rope;
  rope.partial = 0.25;
  rope.partial_key = config.has("rope_pct") ? "rope_pct" : "partial_rotary_factor";
  read_rope(config, b, rope);
  b.layer.assign(static_cast<size_t>(b.layers), {});
  b.parallel = config.boolean("use_parallel_residual", false);
  if (b.parallel) b.names[NormRole::mlp_in] = "";
  if (config.boolean("qk_layernorm", false)) {
    b.qk_norm = QkNorm::own_head;
    // One tensor a head: norms.0, norms.1, …
    b.names[NormRole::q] = "self_attn.q_layernorm.norms.%d";
    b.names[NormRole::k] = "self_attn.k_layernorm.norms.%d";
  }
}

}  // namespace nibble
