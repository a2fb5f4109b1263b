// GLM-4: half of each head turns in interleaved pairs, biases on q, k and v, gate|up in one
// matrix. The 0414 models also have norms behind attention and MLP.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_glm(ConfigReader& config, Blueprint& b) {
  RopeDefaults rope;
  rope.partial = 0.5;
  rope.interleaved = true;
  if (!config.has("head_dim")) config.refuse("head_dim", "is missing", "GLM's files give it");
  read_llama_blocks(config, b, false, rope);
  b.norm_eps = config.number("rms_norm_eps", 1.5625e-7);
  b.attention_bias = config.boolean("attention_bias", true);
  b.attention_out_bias = false;
  b.mlp = MlpKind::gated_fused;
  b.names[LinearRole::gate_up] = "mlp.gate_up_proj";
}

void read_glm4(ConfigReader& config, Blueprint& b) {
  read_glm(config, b);
  b.names[NormRole::attention_out] = "post_self_attn_layernorm";
  b.names[NormRole::mlp_out] = "post_mlp_layernorm";
}

}  // namespace nibble
