// Falcon: one matrix for q|k|v, no biases, a plain MLP. 7B has one key head and one norm for
// attention and MLP side by side; 40B and later group query heads under key heads and mostly have
// a norm for each. The 1B models with ALiBi are refused.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {
namespace {

void falcon_sizes(ConfigReader& config, Blueprint& b) {
  const auto either = [&](const char* name, const char* old) {
    config.understood(old);
    return config.integer(config.has(name) || !config.has(old) ? name : old);
  };
  b.vocab = config.integer("vocab_size");
  b.hidden = either("hidden_size", "n_embed");
  b.layers = either("num_hidden_layers", "n_layer");
  b.heads = either("num_attention_heads", "n_head");
  if (b.hidden % b.heads != 0)
    config.refuse("hidden_size", cat("is ", b.hidden, ", the ", b.heads, " heads must divide it"));
  b.head_dim = b.hidden / b.heads;
  b.intermediate = config.integer("ffn_hidden_size", 4 * b.hidden);
  b.max_positions = config.integer("max_position_embeddings", 2048);
  b.tied = config.boolean("tie_word_embeddings", true);
}

}  // namespace

void read_falcon(ConfigReader& config, Blueprint& b) {
  falcon_sizes(config, b);
  config.only("alibi", false, "ALiBi positions are not supported");
  b.norm = NormKind::layer;
  b.norm_bias = true;
  b.norm_eps = config.number("layer_norm_epsilon", 1e-5);
  b.mlp = MlpKind::plain;
  b.activation = read_activation(config, "activation", "gelu");
  b.attention_bias = config.boolean("bias", false);
  b.attention_out_bias = b.mlp_bias = b.attention_bias;
  const bool grouped = config.boolean("new_decoder_architecture", false);
  const bool one_key = config.boolean("multi_query", true);
  const int64_t kv = config.integer("num_kv_heads", config.integer("n_head_kv", b.heads));
  b.kv_heads = grouped ? kv : one_key ? 1 : b.heads;
  b.qkv = grouped || !one_key ? QkvLayout::by_head : QkvLayout::stacked;
  b.parallel = config.boolean("parallel_attn", true) || grouped;
  const int64_t norms = config.integer("num_ln_in_parallel_attn", grouped ? 2 : 1);
  check_sizes(config, b);
  read_rope(config, b);
  b.layer.assign(static_cast<size_t>(b.layers), {});

  Blueprint::Names& n = b.names;
  n.embedding = "transformer.word_embeddings";
  n.final_norm = "transformer.ln_f";
  n.layer = "transformer.h.%d.";
  n.prefix = "transformer.";
  if (grouped && norms == 2) {
    n[NormRole::attention_in] = "ln_attn";
    n[NormRole::mlp_in] = "ln_mlp";
  } else if (b.parallel) {
    n[NormRole::mlp_in] = "";
  }
  n[LinearRole::qkv] = "self_attention.query_key_value";
  n[LinearRole::o] = "self_attention.dense";
  n[LinearRole::up] = "mlp.dense_h_to_4h";
  n[LinearRole::down] = "mlp.dense_4h_to_h";
}

}  // namespace nibble
