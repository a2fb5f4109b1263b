// StarCoder2: LayerNorm and biases around a plain MLP, grouped heads, a window in every layer.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_starcoder2(ConfigReader& config, Blueprint& b) {
  read_sizes(config, b, true);
  b.norm = NormKind::layer;
  b.norm_bias = true;
  b.norm_eps = config.number("norm_epsilon", 1e-5);
  b.activation = read_activation(config, "hidden_act", "gelu_pytorch_tanh");
  b.mlp = MlpKind::plain;
  b.names[LinearRole::up] = "mlp.c_fc";
  b.names[LinearRole::down] = "mlp.c_proj";
  b.attention_bias = config.boolean("use_bias", true);
  b.attention_out_bias = b.mlp_bias = b.attention_bias;
  read_rope(config, b);
  const int64_t window = read_window(config, 0);
  read_windows(config, b, window, [&](int64_t) { return window > 0; });
  // Older files name what the code never varied.
  config.only("mlp_type", "default", "only the plain MLP is known");
  config.only("norm_type", "layer_norm", "only LayerNorm is known");
  config.understood("activation_function");
}

}  // namespace nibble
