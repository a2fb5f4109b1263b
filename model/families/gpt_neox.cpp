// GPT-NeoX and Pythia (Black et al. 2022): attention and MLP side by side, each behind a LayerNorm
// of its own; a quarter of each head turns; q|k|v lie head by head in one matrix.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_gpt_neox(ConfigReader& config, Blueprint& b) {
  read_sizes(config, b);
  b.norm = NormKind::layer;
  b.norm_bias = true;
  b.norm_eps = config.number("layer_norm_eps", 1e-5);
  b.mlp = MlpKind::plain;
  b.activation = read_activation(config, "hidden_act", "gelu");
  b.attention_bias = config.boolean("attention_bias", true);
  b.attention_out_bias = b.attention_bias;
  b.mlp_bias = true;
  b.parallel = config.boolean("use_parallel_residual", true);
  b.qkv = QkvLayout::by_head;
  RopeDefaults rope;
  rope.partial = 0.25;
  rope.theta_key = "rotary_emb_base";
  rope.partial_key = "rotary_pct";
  read_rope(config, b, rope);
  b.layer.assign(static_cast<size_t>(b.layers), {});

  Blueprint::Names& n = b.names;
  n.embedding = "gpt_neox.embed_in";
  n.final_norm = "gpt_neox.final_layer_norm";
  n.head = "embed_out";
  n.layer = "gpt_neox.layers.%d.";
  n.prefix = "gpt_neox.";
  n.derived = {"attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"};
  n[LinearRole::qkv] = "attention.query_key_value";
  n[LinearRole::o] = "attention.dense";
  n[LinearRole::up] = "mlp.dense_h_to_4h";
  n[LinearRole::down] = "mlp.dense_4h_to_h";
}

}  // namespace nibble
