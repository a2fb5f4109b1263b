// Phi-1, 1.5 and 2: LayerNorm, attention and MLP side by side, biases everywhere, part of each
// head turns.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_phi(ConfigReader& config, Blueprint& b) {
  read_sizes(config, b);
  b.norm = NormKind::layer;
  b.norm_bias = true;
  b.norm_eps = config.number("layer_norm_eps", 1e-5);
  b.parallel = true;
  b.mlp = MlpKind::plain;
  b.activation = read_activation(config, "hidden_act", "gelu_new");
  b.attention_bias = b.attention_out_bias = b.mlp_bias = b.head_bias = true;
  RopeDefaults rope;
  rope.partial = 0.5;
  read_rope(config, b, rope);
  b.layer.assign(static_cast<size_t>(b.layers), {});
  b.names.final_norm = "model.final_layernorm";
  b.names[NormRole::mlp_in] = "";
  b.names[LinearRole::o] = "self_attn.dense";
  b.names[LinearRole::up] = "mlp.fc1";
  b.names[LinearRole::down] = "mlp.fc2";
  if (config.boolean("qk_layernorm", false)) {
    b.qk_norm = QkNorm::head;
    b.qk_norm_bias = true;
    b.names[NormRole::q] = "self_attn.q_layernorm";
    b.names[NormRole::k] = "self_attn.k_layernorm";
  }
}

}  // namespace nibble
