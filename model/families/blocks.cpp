#include "model/families/blocks.h"

#include <nlohmann/json.hpp>

namespace nibble {

void check_sizes(ConfigReader& config, const Blueprint& b) {
  if (b.heads % b.kv_heads != 0)
    config.refuse("num_key_value_heads",
                  cat("is ", b.kv_heads, ", it must divide num_attention_heads = ", b.heads));
  if (b.positions == Positions::rotary && b.head_dim % 2 != 0)
    config.refuse("head_dim", cat("must be even, got ", b.head_dim));
  if (b.layers > 4096) config.refuse("num_hidden_layers", cat("is ", b.layers, ", at most 4096"));
}

void read_sizes(ConfigReader& config, Blueprint& b, bool tied) {
  b.vocab = config.integer("vocab_size");
  b.hidden = config.integer("hidden_size");
  b.intermediate = config.integer("intermediate_size");
  b.layers = config.integer("num_hidden_layers");
  b.heads = config.integer("num_attention_heads");
  b.kv_heads = config.integer("num_key_value_heads", b.heads);
  if (!config.has("head_dim") && b.hidden % b.heads != 0)
    config.refuse("hidden_size",
                  cat("is ", b.hidden, ", num_attention_heads = ", b.heads, " must divide it"));
  b.head_dim = config.integer("head_dim", b.hidden / b.heads);
  b.max_positions = config.integer("max_position_embeddings", 2048);
  b.tied = config.boolean("tie_word_embeddings", tied);
  check_sizes(config, b);
}

Activation read_activation(ConfigReader& config, const std::string& key,
                           const std::string& otherwise) {
  const std::string name = config.text(key, otherwise);
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu" || name == "gelu_python") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
    return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  if (name == "relu2") return Activation::relu2;
  config.refuse(key, cat("is '", name, "'"),
                "silu, gelu, gelu_new, gelu_pytorch_tanh, relu and relu2 are supported");
}

int64_t read_window(ConfigReader& config, int64_t absent) {
  if (!config.given("sliding_window")) return absent;
  const Json* value = config.raw("sliding_window");
  if (value == nullptr) return 0;
  if (value->is_number_integer() && *value == 0) return 0;
  return config.integer("sliding_window", 0);
}

std::vector<bool> read_layer_types(ConfigReader& config, const Blueprint& b) {
  std::vector<bool> sliding;
  const Json* types = config.raw("layer_types");
  if (types == nullptr) return sliding;
  if (!types->is_array() || static_cast<int64_t>(types->size()) != b.layers)
    config.refuse("layer_types", cat("must be a list of num_hidden_layers = ", b.layers, " kinds"));
  for (const Json& type : *types) {
    if (type != "full_attention" && type != "sliding_attention")
      config.refuse("layer_types", cat("holds ", type.dump()),
                    "full_attention and sliding_attention are supported");
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

void set_windows(Blueprint& b, const std::vector<bool>& sliding, int64_t window) {
  b.layer.assign(static_cast<size_t>(b.layers), {});
  for (size_t i = 0; i < sliding.size(); ++i) {
    if (!sliding[i]) continue;
    b.layer[i].window = window;
    if (b.ropes.size() > 1) b.layer[i].rope = 1;
  }
}

void read_llama_blocks(ConfigReader& config, Blueprint& b, bool tied, const RopeDefaults& rope) {
  read_sizes(config, b, tied);
  b.norm_eps = config.number("rms_norm_eps", 1e-6);
  b.activation = read_activation(config, "hidden_act", "silu");
  read_rope(config, b, rope);
  b.layer.assign(static_cast<size_t>(b.layers), {});
}

}  // namespace nibble
