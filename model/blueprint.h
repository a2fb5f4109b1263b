// What a model is, in switches: a family's file translates config.json into a Blueprint and the
// Decoder needs nothing else. Widths in elements.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "kernels/tensor.h"

namespace nibble {

struct RopeBlueprint {
  double theta = 10000;
  int64_t rotary = 0;  // leading columns of a head that turn
};

struct Blueprint {
  std::string family;  // "llama"
  int64_t vocab = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t intermediate = 0;
  int64_t max_positions = 0;
  double norm_eps = 1e-6;
  RopeBlueprint rope;
  bool tied = false;  // the head is the embedding
  bool attention_bias = false;
  bool attention_out_bias = false;
  bool mlp_bias = false;
  std::optional<int64_t> bos, pad;
  std::vector<int64_t> eos;
  DType file_dtype = DType::f32;  // config's dtype / torch_dtype

  // Module paths on file, "%d" the layer. Norms and embedding carry ".weight", linears too.
  struct Names {
    std::string embedding = "model.embed_tokens";
    std::string final_norm = "model.norm";
    std::string head = "lm_head";
    std::string layer = "model.layers.%d.";
    std::string attention_norm = "input_layernorm", mlp_norm = "post_attention_layernorm";
    std::string q = "self_attn.q_proj", k = "self_attn.k_proj", v = "self_attn.v_proj";
    std::string o = "self_attn.o_proj";
    std::string gate = "mlp.gate_proj", up = "mlp.up_proj", down = "mlp.down_proj";
  } names;

  std::string layer_path(int64_t layer, const std::string& part) const;
  int64_t parameters() const;  // weights, a tied head counted once
};

// config.json → Blueprint by its model_type. A family or key that nibble would compute wrongly is
// refused by name (UserError, exit 65, place = `where`).
Blueprint read_blueprint(const Json& config, const std::string& where);
std::vector<std::string> supported_families();

}  // namespace nibble
