// OLMo 2 and 3: norms only behind attention and MLP, q and k normalised over their full width.
// OLMo 3 has windows in three layers of four; its scaling is for the others.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {
namespace {

void olmo_blocks(ConfigReader& config, Blueprint& b, const RopeDefaults& rope) {
  read_llama_blocks(config, b, false, rope);
  b.norm_eps = config.number("rms_norm_eps", 1e-5);
  b.attention_bias = config.boolean("attention_bias", false);
  b.attention_out_bias = b.attention_bias;
  b.qk_norm = QkNorm::row;
  b.names[NormRole::q] = "self_attn.q_norm";
  b.names[NormRole::k] = "self_attn.k_norm";
  b.names[NormRole::attention_in] = b.names[NormRole::mlp_in] = "";
  b.names[NormRole::attention_out] = "post_attention_layernorm";
  b.names[NormRole::mlp_out] = "post_feedforward_layernorm";
}

}  // namespace

void read_olmo2(ConfigReader& config, Blueprint& b) { olmo_blocks(config, b, {}); }

void read_olmo3(ConfigReader& config, Blueprint& b) {
  RopeDefaults rope;
  rope.theta = 5e5;
  rope.scales_full_only = true;
  olmo_blocks(config, b, rope);
  read_windows(config, b, read_window(config, 4096), [](int64_t i) { return (i + 1) % 4 != 0; });
}

}  // namespace nibble
