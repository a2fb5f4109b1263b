// What a model is, in switches: a family's file translates config.json into a Blueprint and the
// Decoder needs nothing else. Widths in elements. The vocabulary follows what families vary:
// where norms stand, how q|k|v and gate|up lie in files, which layers see a window, how rotary
// positions stretch, what multiplies what.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/json.h"
#include "kernels/table.h"
#include "kernels/tensor.h"
#include "model/rope.h"

namespace nibble {

enum class NormKind : uint8_t { rms, layer };
// What a norm of q and k works on: nothing, the whole row, every head with the same weights, every
// head with its own.
enum class QkNorm : uint8_t { none, row, head, own_head };
// How q, k and v lie on file: three matrices; one with rows q|k|v; one with rows (q|k|v) per key
// head, its group of query heads first.
enum class QkvLayout : uint8_t { separate, stacked, by_head };
enum class MlpKind : uint8_t { gated, gated_fused, plain };
enum class Positions : uint8_t { rotary, learned, none };

// The norms a layer may have, by where they stand:
//   x → attention_in → attention → attention_out → (+ x) → attention_after
//     → mlp_in → mlp → mlp_out → (+) → mlp_after
// q and k are those of QkNorm. A norm without a name is not there.
enum class NormRole : uint8_t {
  attention_in,
  q,
  k,
  attention_out,
  attention_after,
  mlp_in,
  mlp_out,
  mlp_after
};
inline constexpr size_t kNormRoles = 8;
enum class LinearRole : uint8_t { q, k, v, qkv, o, gate, up, gate_up, down };
inline constexpr size_t kLinearRoles = 9;

struct LayerBlueprint {
  int64_t window = 0;  // keys a token sees, itself included; 0: all before it
  int rope = 0;        // index into Blueprint::ropes; -1: no rotary positions here
};

struct Blueprint {
  std::string family;  // model_type: "llama"
  int64_t vocab = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t intermediate = 0;
  int64_t max_positions = 0;
  int64_t grown = 0;  // of vocab: rows at its end that adapters add, which the base does not know
  bool encoder = false;  // no mask, no head: BERT
  bool causal = true;

  NormKind norm = NormKind::rms;
  double norm_eps = 1e-6;
  double norm_offset = 0;  // Gemma: x · rstd · (1 + w)
  bool norm_bias = false;  // NormKind::layer only
  QkNorm qk_norm = QkNorm::none;
  bool qk_norm_layer = false;  // LayerNorm instead of `norm`
  bool qk_norm_bias = false;
  double qk_norm_eps = 0;  // 0: norm_eps

  Positions positions = Positions::rotary;
  std::vector<RopeBlueprint> ropes = {{}};
  std::vector<LayerBlueprint> layer;  // one per layer
  double attention_scale = 0;         // 0: 1 / sqrt(head_dim)
  double attention_cap = 0;           // s = cap tanh(s / cap)
  QkvLayout qkv = QkvLayout::separate;
  MlpKind mlp = MlpKind::gated;
  Activation activation = Activation::silu;
  bool parallel = false;    // attention and MLP both read the layer's input
  bool transposed = false;  // weights lie (in, out) on file: Conv1D

  bool tied = false;  // the head is the embedding
  bool attention_bias = false, attention_out_bias = false;
  bool mlp_bias = false, head_bias = false;
  double embedding_scale = 1, residual_scale = 1;
  bool embedding_scale_rounds = false;  // Gemma: the factor is of the compute type
  LogitShape logits;
  int64_t token_types = 0;  // rows of the table of token types: BERT

  std::optional<int64_t> bos, pad;
  std::vector<int64_t> eos;
  DType file_dtype = DType::f32;  // config's dtype / torch_dtype

  // Module paths on file, "%d" the layer; ".weight" and ".bias" follow. Parts of a layer stand
  // behind layer's path.
  struct Names {
    std::string embedding = "model.embed_tokens";
    std::string positions, token_types, embedding_norm, pooler;
    std::string final_norm = "model.norm";  // "": none
    std::string head = "lm_head";
    std::string layer = "model.layers.%d.";
    std::string norm[kNormRoles] = {"input_layernorm",          "", "", "", "",
                                    "post_attention_layernorm", "", ""};
    std::string linear[kLinearRoles] = {
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "",
        "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",      "",
        "mlp.down_proj"};
    std::string& operator[](NormRole role) { return norm[static_cast<size_t>(role)]; }
    std::string& operator[](LinearRole role) { return linear[static_cast<size_t>(role)]; }
    const std::string& operator[](NormRole r) const { return norm[static_cast<size_t>(r)]; }
    const std::string& operator[](LinearRole r) const { return linear[static_cast<size_t>(r)]; }
    // Files of this family may leave this beginning out, or have it where `names` do not.
    std::string prefix;
    // Tensors of these endings (after a '.') are buffers that follow from the configuration.
    std::vector<std::string> derived = {"rotary_emb.inv_freq"};
    // Tensors that begin so belong to parts that are not computed here (a BERT's training heads).
    std::vector<std::string> unused;
  } names;

  std::string layer_path(int64_t layer_index, const std::string& part) const;
  int64_t parameters() const;  // weights, a tied head counted once
};

// The projections and norms of every layer, in file order: what a decoder has, what a merge and a
// plan walk through.
struct LinearSpec {
  LinearRole role;
  std::string part;  // path within the layer
  int64_t out = 0, in = 0;
  bool bias = false;
};
struct NormSpec {
  NormRole role;
  std::string part;
  int64_t groups = 1;  // rows are normalised in so many groups
  bool own = false;    // every group has weights of its own: (groups, width)
  int64_t width = 0;   // of a group
  bool layer_norm = false;
  bool bias = false;
  double eps = 0, offset = 0;
};
std::vector<LinearSpec> layer_linears(const Blueprint& b);
std::vector<NormSpec> layer_norms(const Blueprint& b);

// config.json → Blueprint by its model_type. A family or key that nibble would compute wrongly is
// refused by name (UserError, exit 65, place = `where`). With `unknown`, keys that nobody reads are
// put there instead of being thrown: for those who only describe.
Blueprint read_blueprint(const Json& config, const std::string& where,
                         std::vector<UserError>* unknown = nullptr);

// A row of families.def: what docs/models.md and `nibble ls families` print.
struct Family {
  const char* model_type;
  const char* members;  // "Llama 1 to 3.3, TinyLlama, SmolLM2"
  const char* notes;    // what is refused or special, "" for nothing
};
const std::vector<Family>& families();
std::vector<std::string> supported_families();  // their model_types

}  // namespace nibble
