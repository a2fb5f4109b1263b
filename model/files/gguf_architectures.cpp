// The architectures. Names are those of llama.cpp's converter; a family that differs from Llama's
// names says only how.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "model/files/gguf_architecture.h"

namespace nibble {
namespace {

using Order = RowOrder;
constexpr auto kNumber = KeyKind::number;
constexpr auto kBoolean = KeyKind::boolean;

#define TRUNK                                                                                   \
  {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}, { \
    "blk.%d.attn_output", "model.layers.%d.self_attn.o_proj"                                    \
  }
#define TWO_NORMS                                                 \
  {"blk.%d.attn_norm", "model.layers.%d.input_layernorm"}, {      \
    "blk.%d.ffn_norm", "model.layers.%d.post_attention_layernorm" \
  }
#define QKV                                                    \
  {"blk.%d.attn_q", "model.layers.%d.self_attn.q_proj"},       \
      {"blk.%d.attn_k", "model.layers.%d.self_attn.k_proj"}, { \
    "blk.%d.attn_v", "model.layers.%d.self_attn.v_proj"        \
  }
#define QKV_IN_PAIRS                                                           \
  {"blk.%d.attn_q", "model.layers.%d.self_attn.q_proj", Order::pairs_q},       \
      {"blk.%d.attn_k", "model.layers.%d.self_attn.k_proj", Order::pairs_k}, { \
    "blk.%d.attn_v", "model.layers.%d.self_attn.v_proj"                        \
  }
#define QK_NORMS                                                \
  {"blk.%d.attn_q_norm", "model.layers.%d.self_attn.q_norm"}, { \
    "blk.%d.attn_k_norm", "model.layers.%d.self_attn.k_norm"    \
  }
#define DOWN \
  { "blk.%d.ffn_down", "model.layers.%d.mlp.down_proj" }
#define GATED                                           \
  {"blk.%d.ffn_gate", "model.layers.%d.mlp.gate_proj"}, \
      {"blk.%d.ffn_up", "model.layers.%d.mlp.up_proj"}, DOWN
#define GATED_FUSED {"blk.%d.ffn_up", "model.layers.%d.mlp.gate_up_proj"}, DOWN

const GgufTensorRow kLlama[] = {TRUNK, TWO_NORMS, QKV_IN_PAIRS, GATED};
const GgufTensorRow kQwen2[] = {TRUNK, TWO_NORMS, QKV, GATED};
const GgufTensorRow kQwen3[] = {TRUNK, TWO_NORMS, QKV, QK_NORMS, GATED};
const GgufTensorRow kGemma2[] = {
    TRUNK,
    {"blk.%d.attn_norm", "model.layers.%d.input_layernorm"},
    {"blk.%d.post_attention_norm", "model.layers.%d.post_attention_layernorm"},
    {"blk.%d.ffn_norm", "model.layers.%d.pre_feedforward_layernorm"},
    {"blk.%d.post_ffw_norm", "model.layers.%d.post_feedforward_layernorm"},
    QKV,
    QK_NORMS,
    GATED};
const GgufTensorRow kPhi2[] = {{"token_embd", "model.embed_tokens"},
                               {"output_norm", "model.final_layernorm"},
                               {"output", "lm_head"},
                               {"blk.%d.attn_norm", "model.layers.%d.input_layernorm"},
                               QKV,
                               {"blk.%d.attn_output", "model.layers.%d.self_attn.dense"},
                               {"blk.%d.ffn_up", "model.layers.%d.mlp.fc1"},
                               {"blk.%d.ffn_down", "model.layers.%d.mlp.fc2"}};
const GgufTensorRow kPhi3[] = {
    TRUNK, TWO_NORMS, {"blk.%d.attn_qkv", "model.layers.%d.self_attn.qkv_proj"}, GATED_FUSED};
const GgufTensorRow kOlmo2[] = {
    TRUNK,
    {"blk.%d.post_attention_norm", "model.layers.%d.post_attention_layernorm"},
    {"blk.%d.post_ffw_norm", "model.layers.%d.post_feedforward_layernorm"},
    QKV,
    QK_NORMS,
    GATED};
const GgufTensorRow kGlm4[] = {
    TRUNK,
    TWO_NORMS,
    {"blk.%d.post_attention_norm", "model.layers.%d.post_self_attn_layernorm"},
    {"blk.%d.post_ffw_norm", "model.layers.%d.post_mlp_layernorm"},
    QKV,
    GATED_FUSED};
const GgufTensorRow kCommandR[] = {
    TRUNK, {"blk.%d.attn_norm", "model.layers.%d.input_layernorm"}, QKV, QK_NORMS, GATED};
const GgufTensorRow kStarcoder2[] = {TRUNK,
                                     TWO_NORMS,
                                     QKV,
                                     {"blk.%d.ffn_up", "model.layers.%d.mlp.c_fc"},
                                     {"blk.%d.ffn_down", "model.layers.%d.mlp.c_proj"}};
const GgufTensorRow kFalcon[] = {
    {"token_embd", "transformer.word_embeddings"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
    {"blk.%d.attn_norm", "transformer.h.%d.input_layernorm"},
    {"blk.%d.attn_qkv", "transformer.h.%d.self_attention.query_key_value", Order::stacked},
    {"blk.%d.attn_output", "transformer.h.%d.self_attention.dense"},
    {"blk.%d.ffn_up", "transformer.h.%d.mlp.dense_h_to_4h"},
    {"blk.%d.ffn_down", "transformer.h.%d.mlp.dense_4h_to_h"}};
const GgufTensorRow kGpt2[] = {
    {"token_embd", "transformer.wte"},
    {"position_embd", "transformer.wpe"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
    {"blk.%d.attn_norm", "transformer.h.%d.ln_1"},
    {"blk.%d.ffn_norm", "transformer.h.%d.ln_2"},
    {"blk.%d.attn_qkv", "transformer.h.%d.attn.c_attn", Order::transposed},
    {"blk.%d.attn_output", "transformer.h.%d.attn.c_proj", Order::transposed},
    {"blk.%d.ffn_up", "transformer.h.%d.mlp.c_fc", Order::transposed},
    {"blk.%d.ffn_down", "transformer.h.%d.mlp.c_proj", Order::transposed}};
const GgufTensorRow kGptNeox[] = {
    {"token_embd", "gpt_neox.embed_in"},
    {"output_norm", "gpt_neox.final_layer_norm"},
    {"output", "embed_out"},
    {"blk.%d.attn_norm", "gpt_neox.layers.%d.input_layernorm"},
    {"blk.%d.ffn_norm", "gpt_neox.layers.%d.post_attention_layernorm"},
    {"blk.%d.attn_qkv", "gpt_neox.layers.%d.attention.query_key_value", Order::stacked},
    {"blk.%d.attn_output", "gpt_neox.layers.%d.attention.dense"},
    {"blk.%d.ffn_up", "gpt_neox.layers.%d.mlp.dense_h_to_4h"},
    {"blk.%d.ffn_down", "gpt_neox.layers.%d.mlp.dense_4h_to_h"}};

#define SIZES                                                                               \
  {"context_length", "max_position_embeddings"}, {"embedding_length", "hidden_size"},       \
      {"block_count", "num_hidden_layers"}, {"feed_forward_length", "intermediate_size"}, { \
    "attention.head_count", "num_attention_heads"                                           \
  }
#define KV_HEADS \
  { "attention.head_count_kv", "num_key_value_heads", KeyKind::integer, false }
#define RMS \
  { "attention.layer_norm_rms_epsilon", "rms_norm_eps", kNumber }
#define LAYER_NORM(name) \
  { "attention.layer_norm_epsilon", name, kNumber }
#define HEAD_DIM \
  { "attention.key_length", "head_dim", KeyKind::integer, false }

const GgufKeyRow kLlamaKeys[] = {SIZES, KV_HEADS, RMS, HEAD_DIM};
const GgufKeyRow kGraniteKeys[] = {SIZES,
                                   KV_HEADS,
                                   RMS,
                                   HEAD_DIM,
                                   {"attention.scale", "attention_multiplier", kNumber, false},
                                   {"embedding_scale", "embedding_multiplier", kNumber, false},
                                   {"residual_scale", "residual_multiplier", kNumber, false},
                                   {"logit_scale", "logits_scaling", kNumber, false}};
const GgufKeyRow kGemma2Keys[] = {
    SIZES,
    KV_HEADS,
    RMS,
    HEAD_DIM,
    {"attn_logit_softcapping", "attn_logit_softcapping", kNumber, false},
    {"final_logit_softcapping", "final_logit_softcapping", kNumber, false},
    {"attention.sliding_window", "sliding_window", KeyKind::integer, false}};
const GgufKeyRow kPhi2Keys[] = {SIZES, KV_HEADS, LAYER_NORM("layer_norm_eps")};
const GgufKeyRow kPhi3Keys[] = {
    SIZES, KV_HEADS, RMS, {"attention.sliding_window", "sliding_window", KeyKind::integer, false}};
const GgufKeyRow kCommandRKeys[] = {SIZES,
                                    KV_HEADS,
                                    LAYER_NORM("layer_norm_eps"),
                                    HEAD_DIM,
                                    {"logit_scale", "logit_scale", kNumber}};
const GgufKeyRow kStablelmKeys[] = {
    SIZES,
    KV_HEADS,
    LAYER_NORM("layer_norm_eps"),
    {"use_parallel_residual", "use_parallel_residual", kBoolean, false}};
const GgufKeyRow kStarcoder2Keys[] = {SIZES, KV_HEADS, LAYER_NORM("norm_epsilon")};
const GgufKeyRow kGptNeoxKeys[] = {
    SIZES,
    LAYER_NORM("layer_norm_eps"),
    {"use_parallel_residual", "use_parallel_residual", kBoolean, false}};
const GgufKeyRow kGpt2Keys[] = {
    {"context_length", "n_positions"},  {"embedding_length", "n_embd"},
    {"block_count", "n_layer"},         {"feed_forward_length", "n_inner"},
    {"attention.head_count", "n_head"}, LAYER_NORM("layer_norm_epsilon")};
const GgufKeyRow kFalconKeys[] = {{"context_length", "max_position_embeddings"},
                                  {"embedding_length", "hidden_size"},
                                  {"block_count", "num_hidden_layers"},
                                  {"feed_forward_length", "ffn_hidden_size"},
                                  {"attention.head_count", "num_attention_heads"},
                                  {"attention.head_count_kv", "num_kv_heads"},
                                  LAYER_NORM("layer_norm_epsilon")};

bool has_tensor(const Gguf& file, std::string_view name) {
  for (const GgufTensor& t : file.tensors)
    if (t.name == name) return true;
  return false;
}

void read_biases(const Gguf& file, Json& config) {
  config["attention_bias"] = has_tensor(file, "blk.0.attn_q.bias");
  config["mlp_bias"] = has_tensor(file, "blk.0.ffn_up.bias");
}

// llama.cpp scales scores by the head's width but in the 27B models.
void read_gemma_scale(Json& config, int64_t layers_of_27b) {
  const HeadSizes s = head_sizes(config);
  const bool large = config["num_hidden_layers"] == layers_of_27b;
  config["query_pre_attn_scalar"] =
      large ? config["hidden_size"].get<int64_t>() / s.heads : s.head_dim;
}

[[noreturn]] void refuse(const char* what, const char* why) {
  throw UserError("config.json", cat(what, " has no place in a GGUF file of this family"), why,
                  Exit::bad_data);
}

void write_gemma_scale(const Blueprint& b, int64_t layers_of_27b) {
  const double width = b.layers == layers_of_27b
                           ? static_cast<double>(b.hidden) / static_cast<double>(b.heads)
                           : static_cast<double>(b.head_dim);
  if (std::fabs(b.attention_scale * std::sqrt(width) - 1) > 1e-6)
    refuse("this query_pre_attn_scalar", "readers of GGUF scale scores by the width of a head");
}

// Layers without a window come every `period` layers.
void write_windows(const Blueprint& b, int64_t period) {
  for (int64_t i = 0; i < b.layers; ++i)
    if ((b.layer[static_cast<size_t>(i)].window > 0) != ((i + 1) % period != 0))
      refuse("this pattern of windows", "readers of GGUF know one pattern for the family");
}

using Metadata = std::vector<std::pair<std::string, GgufValue>>;

void read_gemma(const Gguf&, Json& config) { config["hidden_activation"] = "gelu_pytorch_tanh"; }
void read_gemma2(const Gguf& file, Json& config) {
  read_gemma(file, config);
  read_gemma_scale(config, 46);
}
void write_gemma2(const Blueprint& b, Metadata&) {
  write_gemma_scale(b, 46);
  write_windows(b, 2);
}
void read_gemma3(const Gguf& file, Json& config) {
  read_gemma(file, config);
  read_gemma_scale(config, 62);
  config["sliding_window_pattern"] = 6;
  if (!config.contains("rope_local_base_freq")) config["rope_local_base_freq"] = 10000.0;
}
void write_gemma3(const Blueprint& b, Metadata& out) {
  write_gemma_scale(b, 62);
  write_windows(b, 6);
  if (b.ropes.size() > 1 && b.ropes[1].theta != 10000)
    out.emplace_back("gemma3.rope.freq_base_swa", GgufValue::f32(b.ropes[1].theta));
}
void write_smollm3(const Blueprint& b, Metadata&) {
  for (int64_t i = 0; i < b.layers; ++i)
    if ((b.layer[static_cast<size_t>(i)].rope < 0) != ((i + 1) % 4 == 0))
      refuse("this no_rope_layers", "readers of GGUF leave positions out of every fourth layer");
}
void write_falcon(const Blueprint&, Metadata& out) {
  out.emplace_back("falcon.tensor_data_layout", GgufValue::of(std::string("jploski")));
}

void read_phi2(const Gguf&, Json& config) {
  config["hidden_act"] = "gelu_new";
  config["qk_layernorm"] = false;
}
void read_stablelm(const Gguf& file, Json& config) {
  config["use_qkv_bias"] = has_tensor(file, "blk.0.attn_q.bias");
  config["qk_layernorm"] = has_tensor(file, "blk.0.attn_q_norm.weight");
}
void read_phi3(const Gguf&, Json& config) {
  if (config.contains("sliding_window") && config["sliding_window"] == 0)
    config["sliding_window"] = nullptr;
}
void read_command_r(const Gguf& file, Json& config) {
  config["use_qk_norm"] = has_tensor(file, "blk.0.attn_q_norm.weight");
}
void read_starcoder2(const Gguf& file, Json& config) {
  config["use_bias"] = has_tensor(file, "blk.0.attn_q.bias");
  config["hidden_act"] = "gelu_pytorch_tanh";
}
void read_gptneox(const Gguf&, Json& config) { config["hidden_act"] = "gelu"; }
void read_gpt2(const Gguf&, Json& config) { config["activation_function"] = "gelu_new"; }
// Falcon 7B; the larger ones have a second norm, whose name no row knows.
void read_falcon(const Gguf& file, Json& config) {
  config["new_decoder_architecture"] = false;
  config["multi_query"] = config["num_kv_heads"] == 1;
  config["parallel_attn"] = true;
  config["bias"] = has_tensor(file, "blk.0.attn_qkv.bias");
  config["alibi"] = false;
}

const GgufArchitecture kArchitectures[] = {
    {"llama", "llama", "LlamaForCausalLM", kLlama, kLlamaKeys, 0, true, read_biases},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", kQwen2, kLlamaKeys},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", kQwen3, kLlamaKeys},
    {"gemma", "gemma", "GemmaForCausalLM", kQwen2, kLlamaKeys, 1, true, read_gemma},
    {"gemma2", "gemma2", "Gemma2ForCausalLM", kGemma2, kGemma2Keys, 1, true, read_gemma2,
     write_gemma2},
    {"gemma3", "gemma3_text", "Gemma3ForCausalLM", kGemma2, kGemma2Keys, 1, true, read_gemma3,
     write_gemma3},
    {"phi2", "phi", "PhiForCausalLM", kPhi2, kPhi2Keys, 0, true, read_phi2},
    {"phi3", "phi3", "Phi3ForCausalLM", kPhi3, kPhi3Keys, 0, true, read_phi3},
    {"olmo2", "olmo2", "Olmo2ForCausalLM", kOlmo2, kLlamaKeys},
    {"smollm3", "smollm3", "SmolLM3ForCausalLM", kLlama, kLlamaKeys, 0, true, read_biases,
     write_smollm3},
    {"granite", "granite", "GraniteForCausalLM", kLlama, kGraniteKeys, 0, true, read_biases},
    {"glm4", "glm4", "Glm4ForCausalLM", kGlm4, kLlamaKeys},
    {"command-r", "cohere", "CohereForCausalLM", kCommandR, kCommandRKeys, 0, true, read_command_r},
    {"stablelm", "stablelm", "StableLmForCausalLM", kQwen3, kStablelmKeys, 0, true, read_stablelm},
    {"starcoder2", "starcoder2", "Starcoder2ForCausalLM", kStarcoder2, kStarcoder2Keys, 0, true,
     read_starcoder2},
    {"falcon", "falcon", "FalconForCausalLM", kFalcon, kFalconKeys, 0, true, read_falcon,
     write_falcon},
    {"gpt2", "gpt2", "GPT2LMHeadModel", kGpt2, kGpt2Keys, 0, true, read_gpt2},
    {"gptneox", "gpt_neox", "GPTNeoXForCausalLM", kGptNeox, kGptNeoxKeys, 0, true, read_gptneox},
};

}  // namespace

std::span<const GgufArchitecture> gguf_architectures() { return kArchitectures; }

}  // namespace nibble
