// Gemma 1, 2 and 3 (text): norms multiply by 1 + w, embeddings by sqrt(hidden), GeGLU. Gemma 2 has
// norms on both sides of each half, windows in every second layer, capped scores and logits; Gemma
// 3 five windowed layers to one and normalised q and k instead of the caps.
#include <cmath>
#include <nlohmann/json.hpp>

#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {
namespace {

void gemma_blocks(ConfigReader& config, Blueprint& b, const RopeDefaults& rope = {}) {
  if (!config.has("head_dim")) config.refuse("head_dim", "is missing", "Gemma's files give it");
  read_sizes(config, b, true);
  b.norm_eps = config.number("rms_norm_eps", 1e-6);
  b.norm_offset = 1;
  b.embedding_scale = std::sqrt(static_cast<double>(b.hidden));
  b.embedding_scale_rounds = true;
  b.attention_bias = config.boolean("attention_bias", false);
  b.attention_out_bias = b.attention_bias;
  config.only("use_bidirectional_attention", false,
              "attention in both directions is for embedding models of their own");
  read_rope(config, b, rope);
  b.layer.assign(static_cast<size_t>(b.layers), {});
}

void four_norms(Blueprint& b) {
  b.names[NormRole::attention_out] = "post_attention_layernorm";
  b.names[NormRole::mlp_in] = "pre_feedforward_layernorm";
  b.names[NormRole::mlp_out] = "post_feedforward_layernorm";
}

void caps_and_scale(ConfigReader& config, Blueprint& b, double attention, double logits) {
  b.attention_scale = 1 / std::sqrt(config.number("query_pre_attn_scalar", 256));
  const auto cap = [&](const char* key, double absent) {
    if (!config.given(key)) return absent;
    return config.has(key) ? config.number(key, 0) : (config.understood(key), 0.0);
  };
  b.attention_cap = cap("attn_logit_softcapping", attention);
  b.logits.cap = cap("final_logit_softcapping", logits);
}

}  // namespace

void read_gemma(ConfigReader& config, Blueprint& b) {
  gemma_blocks(config, b);
  // Early files say "gelu" under hidden_act and mean the tanh form.
  config.understood("hidden_act");
  const std::string key = config.has("hidden_activation") ? "hidden_activation" : "hidden_act";
  b.activation = read_activation(config, key, "gelu_pytorch_tanh");
  if (b.activation == Activation::gelu) b.activation = Activation::gelu_tanh;
}

void read_gemma2(ConfigReader& config, Blueprint& b) {
  gemma_blocks(config, b);
  four_norms(b);
  caps_and_scale(config, b, 50, 30);
  config.understood("hidden_act");  // hidden_activation is what counts
  b.activation = read_activation(config, "hidden_activation", "gelu_pytorch_tanh");
  read_windows(config, b, read_window(config, 4096), [](int64_t i) { return i % 2 == 0; });
}

void read_gemma3(ConfigReader& config, Blueprint& b) {
  RopeDefaults rope;
  rope.theta = 1e6;
  rope.scales_full_only = true;
  rope.local_theta_key = "rope_local_base_freq";
  gemma_blocks(config, b, rope);
  four_norms(b);
  caps_and_scale(config, b, 0, 0);
  b.qk_norm = QkNorm::head;
  b.names[NormRole::q] = "self_attn.q_norm";
  b.names[NormRole::k] = "self_attn.k_norm";
  config.understood("hidden_act");
  b.activation = read_activation(config, "hidden_activation", "gelu_pytorch_tanh");
  const int64_t pattern =
      config.integer("sliding_window_pattern", config.integer("_sliding_window_pattern", 6));
  read_windows(config, b, read_window(config, 4096),
               [&](int64_t i) { return (i + 1) % pattern != 0; });
}

}  // namespace nibble
