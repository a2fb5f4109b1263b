// Phi-3, 3.5, 4 and 4-mini: Llama's blocks with q|k|v and gate|up in one matrix each; longrope,
// windows and partly turning heads where the file says so.
#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_phi3(ConfigReader& config, Blueprint& b) {
  read_sizes(config, b);
  b.norm_eps = config.number("rms_norm_eps", 1e-5);
  b.activation = read_activation(config, "hidden_act", "silu");
  read_rope(config, b);
  const int64_t window = read_window(config, 0);
  read_windows(config, b, window, [&](int64_t) { return window > 0; });
  config.only("attention_bias", false, "Phi-3 has no attention biases");
  b.qkv = QkvLayout::stacked;
  b.mlp = MlpKind::gated_fused;
  b.names[LinearRole::qkv] = "self_attn.qkv_proj";
  b.names[LinearRole::gate_up] = "mlp.gate_up_proj";
}

}  // namespace nibble
