// Llama 1 to 3.3, TinyLlama, SmolLM2 and their many children (Touvron et al. 2023); the key
// meanings are transformers' LlamaConfig.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_llama(ConfigReader& config, Blueprint& b) {
  read_llama_blocks(config, b);
  b.attention_bias = config.boolean("attention_bias", false);
  b.attention_out_bias = b.attention_bias;
  b.mlp_bias = config.boolean("mlp_bias", false);
}

}  // namespace nibble
