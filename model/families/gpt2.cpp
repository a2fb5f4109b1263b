// GPT-2 (Radford et al. 2019): learned positions, LayerNorm, biases everywhere, q|k|v in one
// matrix; weights lie (in, out) on file, since its layers are one-wide convolutions.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_gpt2(ConfigReader& config, Blueprint& b) {
  b.vocab = config.integer("vocab_size");
  b.hidden = config.integer("n_embd");
  b.layers = config.integer("n_layer");
  b.heads = b.kv_heads = config.integer("n_head");
  if (b.hidden % b.heads != 0)
    config.refuse("n_embd", cat("is ", b.hidden, ", n_head = ", b.heads, " must divide it"));
  b.head_dim = b.hidden / b.heads;
  b.intermediate = config.integer("n_inner", 4 * b.hidden);
  b.max_positions = config.integer("n_positions", 1024);
  config.understood("n_ctx");  // the same number in older files
  b.tied = config.boolean("tie_word_embeddings", true);
  b.positions = Positions::learned;
  check_sizes(config, b);
  b.norm = NormKind::layer;
  b.norm_bias = true;
  b.norm_eps = config.number("layer_norm_epsilon", 1e-5);
  b.activation = read_activation(config, "activation_function", "gelu_new");
  b.attention_bias = b.attention_out_bias = b.mlp_bias = true;
  b.transposed = true;
  b.qkv = QkvLayout::stacked;
  b.mlp = MlpKind::plain;
  b.layer.assign(static_cast<size_t>(b.layers), {0, -1});
  config.only("scale_attn_weights", true, "unscaled attention is not supported");
  config.only("scale_attn_by_inverse_layer_idx", false, "scores scaled by layer are not supported");
  config.only("add_cross_attention", false, "cross attention is not supported");
  config.understood("reorder_and_upcast_attn");  // the order of the same arithmetic

  Blueprint::Names& n = b.names;
  n.embedding = "transformer.wte";
  n.positions = "transformer.wpe";
  n.final_norm = "transformer.ln_f";
  n.layer = "transformer.h.%d.";
  n.prefix = "transformer.";
  n.derived = {"attn.bias", "attn.masked_bias"};
  n[NormRole::attention_in] = "ln_1";
  n[NormRole::mlp_in] = "ln_2";
  n[LinearRole::qkv] = "attn.c_attn";
  n[LinearRole::o] = "attn.c_proj";
  n[LinearRole::up] = "mlp.c_fc";
  n[LinearRole::down] = "mlp.c_proj";
}

}  // namespace nibble
