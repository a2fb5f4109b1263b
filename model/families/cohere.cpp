// Cohere's Command models: LayerNorm without bias before attention and MLP side by side,
// interleaved pairs, scaled logits; the larger ones normalise q and k with weights of every head.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_cohere(ConfigReader& config, Blueprint& b) {
  read_sizes(config, b, true);
  b.norm = NormKind::layer;
  b.norm_eps = config.number("layer_norm_eps", 1e-5);
  b.activation = read_activation(config, "hidden_act", "silu");
  b.parallel = true;
  b.names[NormRole::mlp_in] = "";
  b.attention_bias = config.boolean("attention_bias", false);
  b.attention_out_bias = b.attention_bias;
  b.logits.scale = config.number("logit_scale", 0.0625);
  RopeDefaults rope;
  rope.theta = 5e5;
  rope.interleaved = true;
  read_rope(config, b, rope);
  b.layer.assign(static_cast<size_t>(b.layers), {});
  if (config.boolean("use_qk_norm", false)) {
    b.qk_norm = QkNorm::own_head;
    b.names[NormRole::q] = "self_attn.q_norm";
    b.names[NormRole::k] = "self_attn.k_norm";
  }
}

}  // namespace nibble
