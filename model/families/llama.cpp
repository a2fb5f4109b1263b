// Llama 1 to 3, TinyLlama, SmolLM2, and Mistral without its window: the same blocks, the same
// names. Source: Touvron et al. 2023; the key meanings are transformers' LlamaConfig and
// MistralConfig.
#include <nlohmann/json.hpp>

#include "model/families/families.h"

namespace nibble {
namespace {

// Both spellings of the rotary base: rope_theta at top level, or inside rope_parameters.
void read_rope(ConfigReader& config, Blueprint& b) {
  b.rope.theta = config.number("rope_theta", 10000.0);
  b.rope.rotary = b.head_dim;
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const Json* rope = config.raw(key);
    if (rope == nullptr) continue;
    if (!rope->is_object()) config.refuse(key, "is not an object");
    for (const auto& item : rope->items()) {
      const std::string& name = item.key();
      if (name == "rope_theta" && item.value().is_number()) {
        b.rope.theta = item.value().get<double>();
      } else if (name == "rope_type" || name == "type") {
        if (item.value() != "default")
          config.refuse(key, cat("asks for rope type ", item.value().dump()),
                        "rope scalings are not supported yet, only 'default'");
      } else if (name == "partial_rotary_factor") {
        if (item.value() != 1.0)
          config.refuse(key, "asks for partial rotary positions",
                        "not supported yet for this family");
      } else {
        config.refuse(key, cat("has the unknown key '", name, "'"),
                      "rope scalings are not supported yet");
      }
    }
  }
  if (b.rope.theta <= 0) config.refuse("rope_theta", cat("must be positive, got ", b.rope.theta));
}

// Every layer must see the whole document.
void refuse_windows(ConfigReader& config) {
  const Json* types = config.raw("layer_types");
  if (types == nullptr) return;
  for (const Json& type : *types)
    if (type != "full_attention")
      config.refuse("layer_types", cat("holds ", type.dump()),
                    "sliding windows are not supported yet, only full_attention");
}

}  // namespace

void read_llama_blocks(ConfigReader& config, Blueprint& b) {
  b.vocab = config.integer("vocab_size");
  b.hidden = config.integer("hidden_size");
  b.intermediate = config.integer("intermediate_size");
  b.layers = config.integer("num_hidden_layers");
  b.heads = config.integer("num_attention_heads");
  b.kv_heads = config.integer("num_key_value_heads", b.heads);
  b.head_dim = config.integer("head_dim", b.hidden / b.heads);
  if (b.heads % b.kv_heads != 0)
    config.refuse("num_key_value_heads",
                  cat("is ", b.kv_heads, ", it must divide num_attention_heads = ", b.heads));
  if (b.head_dim % 2 != 0) config.refuse("head_dim", cat("must be even, got ", b.head_dim));
  b.max_positions = config.integer("max_position_embeddings", 2048);
  b.norm_eps = config.number("rms_norm_eps", 1e-6);
  b.tied = config.boolean("tie_word_embeddings", false);
  config.only("hidden_act", "silu", "only silu is supported yet for this family");
  config.only("partial_rotary_factor", 1.0, "partial rotary positions are not supported yet here");
  read_rope(config, b);
  refuse_windows(config);
}

void read_llama(ConfigReader& config, Blueprint& b) {
  read_llama_blocks(config, b);
  b.attention_bias = config.boolean("attention_bias", false);
  b.attention_out_bias = b.attention_bias;
  b.mlp_bias = config.boolean("mlp_bias", false);
}

void read_mistral(ConfigReader& config, Blueprint& b) {
  read_llama_blocks(config, b);
  config.only("sliding_window", nullptr,
              "sliding windows are not supported yet; set it to null if every prompt is shorter");
  config.only("attention_bias", false, "Mistral has no attention biases");
  config.only("mlp_bias", false, "Mistral has no MLP biases");
}

}  // namespace nibble
