// What most families' configurations have in common, in both spellings (transformers 4 and 5).
#pragma once

#include <string>

#include "model/blueprint.h"
#include "model/config_reader.h"

namespace nibble {

// vocab_size, hidden_size, … num_key_value_heads, head_dim, max_position_embeddings and
// tie_word_embeddings under their usual names. Absent: tied as `tied`.
void read_sizes(ConfigReader& config, Blueprint& b, bool tied = false);
// Checks what sizes mean together; for families with names of their own.
void check_sizes(ConfigReader& config, const Blueprint& b);

// rope_theta, rope_scaling, rope_parameters, partial_rotary_factor: one entry of b.ropes, or two
// when rope_parameters has one for each kind of layer ([0] full_attention, [1] sliding_attention).
// Needs head_dim and max_positions; layers keep rope 0.
struct RopeDefaults {
  double theta = 10000;
  double partial = 1;
  bool interleaved = false;
  // Keys that older files of the family use instead.
  const char* theta_key = "rope_theta";
  const char* partial_key = "partial_rotary_factor";
  // A scaling given at top level is for layers of full attention only.
  bool scales_full_only = false;
  const char* local_theta_key = nullptr;  // the base of sliding layers, at top level
  double local_theta = 10000;
};
void read_rope(ConfigReader& config, Blueprint& b, const RopeDefaults& defaults = {});

// Fills b.layer: window in the layers that `layer_types` calls sliding_attention; without that
// list in those where `slides(i)`. Layers that slide use rope entry 1 when there is one.
template <class Rule>
void read_windows(ConfigReader& config, Blueprint& b, int64_t window, Rule slides);
// layer_types as flags (true: sliding), or empty when absent. Other kinds are refused.
std::vector<bool> read_layer_types(ConfigReader& config, const Blueprint& b);
void set_windows(Blueprint& b, const std::vector<bool>& sliding, int64_t window);
// sliding_window: null and absent are told apart as transformers does.
int64_t read_window(ConfigReader& config, int64_t absent);

Activation read_activation(ConfigReader& config, const std::string& key,
                           const std::string& otherwise);

// Llama's blocks: RMSNorm before both halves, SwiGLU, rotary positions, no biases.
void read_llama_blocks(ConfigReader& config, Blueprint& b, bool tied = false,
                       const RopeDefaults& rope = {});

template <class Rule>
void read_windows(ConfigReader& config, Blueprint& b, int64_t window, Rule slides) {
  std::vector<bool> sliding = read_layer_types(config, b);
  if (sliding.empty())
    for (int64_t i = 0; i < b.layers; ++i) sliding.push_back(slides(i));
  set_windows(b, sliding, window);
}

}  // namespace nibble
