// BERT (Devlin et al. 2019), an encoder for embeddings: no mask, learned positions and token types,
// LayerNorm behind every sum.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_bert(ConfigReader& config, Blueprint& b) {
  b.positions = Positions::learned;
  read_sizes(config, b, true);
  b.encoder = true;
  b.causal = false;
  b.norm = NormKind::layer;
  b.norm_bias = true;
  b.norm_eps = config.number("layer_norm_eps", 1e-12);
  b.activation = read_activation(config, "hidden_act", "gelu");
  b.mlp = MlpKind::plain;
  b.attention_bias = b.attention_out_bias = b.mlp_bias = true;
  b.token_types = config.integer("type_vocab_size", 2);
  b.layer.assign(static_cast<size_t>(b.layers), {0, -1});
  config.only("position_embedding_type", "absolute", "only learned absolute positions are known");
  config.only("is_decoder", false, "a BERT that decodes is not supported");
  config.only("add_cross_attention", false, "cross attention is not supported");

  Blueprint::Names& n = b.names;
  n.embedding = "embeddings.word_embeddings";
  n.positions = "embeddings.position_embeddings";
  n.token_types = "embeddings.token_type_embeddings";
  n.embedding_norm = "embeddings.LayerNorm";
  n.pooler = "pooler.dense";
  n.final_norm = "";
  n.head = "";
  n.layer = "encoder.layer.%d.";
  n.prefix = "bert.";
  n.derived = {"embeddings.position_ids"};
  n.unused = {"cls.", "classifier."};
  n[NormRole::attention_in] = n[NormRole::mlp_in] = "";
  n[NormRole::attention_after] = "attention.output.LayerNorm";
  n[NormRole::mlp_after] = "output.LayerNorm";
  n[LinearRole::q] = "attention.self.query";
  n[LinearRole::k] = "attention.self.key";
  n[LinearRole::v] = "attention.self.value";
  n[LinearRole::o] = "attention.output.dense";
  n[LinearRole::up] = "intermediate.dense";
  n[LinearRole::down] = "output.dense";
}

}  // namespace nibble
