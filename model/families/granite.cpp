// Granite 3: Llama's blocks with a multiplier on embeddings, scores, branches and logits.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_granite(ConfigReader& config, Blueprint& b) {
  read_llama_blocks(config, b);
  b.attention_bias = config.boolean("attention_bias", false);
  b.attention_out_bias = b.attention_bias;
  b.mlp_bias = config.boolean("mlp_bias", false);
  b.embedding_scale = config.number("embedding_multiplier", 1);
  b.residual_scale = config.number("residual_multiplier", 1);
  b.attention_scale = config.number("attention_multiplier", 1);
  const double divisor = config.number("logits_scaling", 1);
  if (!(divisor != 0)) config.refuse("logits_scaling", "must not be 0");
  b.logits.scale = 1 / divisor;
}

}  // namespace nibble
