// One small configuration for every row of families.def, and variants that reach its switches: the
// tests that walk all families read this table, so a family without a row fails them.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace nibble::testing {

struct FamilyConfig {
  std::string name;        // "llama", "llama yarn"
  std::string model_type;  // a row of families.def
  std::string keys;        // besides the sizes below
  bool own_sizes = false;  // keys has them too

  friend void PrintTo(const FamilyConfig& c, std::ostream* out) { *out << c.name; }
};

inline std::vector<FamilyConfig> family_configs() {
  const std::string partial =
      R"("rope_parameters":{"rope_theta":500.0,"partial_rotary_factor":0.7})";
  const std::string gpt2 = R"("n_embd":24,"n_layer":2,"n_head":3,"n_positions":96,"vocab_size":61)";
  const std::string falcon =
      R"("hidden_size":24,"num_hidden_layers":2,"num_attention_heads":4,"ffn_hidden_size":40,)"
      R"("vocab_size":61,"max_position_embeddings":96)";
  return {
      {"llama", "llama", R"("attention_bias":true,"mlp_bias":true)"},
      {"llama linear", "llama", R"("rope_scaling":{"type":"linear","factor":2.0})"},
      {"llama dynamic", "llama",
       R"("max_position_embeddings":24,"rope_scaling":{"type":"dynamic","factor":4.0})"},
      {"llama llama3", "llama",
       R"("rope_scaling":{"rope_type":"llama3","factor":4.0,"low_freq_factor":1.0,)"
       R"("high_freq_factor":4.0,"original_max_position_embeddings":24})"},
      {"llama yarn", "llama",
       R"("rope_scaling":{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":24})"},
      {"mistral", "mistral", R"("sliding_window":5)"},
      {"ministral", "ministral",
       R"("sliding_window":5,"layer_types":["sliding_attention","full_attention"])"},
      {"qwen2", "qwen2", R"("use_sliding_window":true,"sliding_window":5,"max_window_layers":1)"},
      {"qwen3", "qwen3", R"("head_dim":10)"},
      {"gemma", "gemma", R"("head_dim":10,"hidden_act":"gelu")"},
      {"gemma2", "gemma2",
       R"("head_dim":10,"sliding_window":5,"query_pre_attn_scalar":12,)"
       R"("attn_logit_softcapping":3.0,"final_logit_softcapping":4.0)"},
      {"gemma3_text", "gemma3_text",
       R"("head_dim":10,"sliding_window":5,"sliding_window_pattern":2,"query_pre_attn_scalar":12,)"
       R"("rope_theta":8000.0,"rope_local_base_freq":300.0,)"
       R"("rope_scaling":{"rope_type":"linear","factor":2.0})"},
      {"phi", "phi", R"("qk_layernorm":true,)" + partial},
      {"phi3", "phi3", R"("sliding_window":5)"},
      {"phi3 longrope", "phi3",
       R"("original_max_position_embeddings":24,"rope_scaling":{"type":"longrope",)"
       R"("short_factor":[1.0,1.1,1.2],"long_factor":[2.0,3.5,5.0]})"},
      {"smollm3", "smollm3", R"("no_rope_layers":[1,0])"},
      {"olmo2", "olmo2", ""},
      {"olmo3", "olmo3",
       R"("sliding_window":5,"layer_types":["sliding_attention","full_attention"],)"
       R"("rope_scaling":{"rope_type":"yarn","factor":2.0,"original_max_position_embeddings":24})"},
      {"granite", "granite",
       R"("embedding_multiplier":3.0,"residual_multiplier":0.5,"attention_multiplier":0.3,)"
       R"("logits_scaling":1.5)"},
      {"glm", "glm", R"("head_dim":12,"attention_bias":true)"},
      {"glm4", "glm4", R"("head_dim":12,"attention_bias":true)"},
      {"cohere", "cohere", R"("use_qk_norm":true,"logit_scale":0.5)"},
      {"cohere2", "cohere2", R"("sliding_window":5,"sliding_window_pattern":2)"},
      {"stablelm", "stablelm", R"("use_qkv_bias":true,"use_parallel_residual":true,)" + partial},
      {"starcoder2", "starcoder2", R"("sliding_window":5)"},
      {"falcon 40b", "falcon", falcon + R"(,"new_decoder_architecture":true,"num_kv_heads":2)",
       true},
      {"falcon 7b", "falcon", falcon + R"(,"bias":true)", true},
      {"falcon in turn", "falcon", falcon + R"(,"multi_query":false,"parallel_attn":false)", true},
      {"gpt2", "gpt2", gpt2, true},
      {"gpt_neox", "gpt_neox", partial},
      {"gpt_neox in turn", "gpt_neox",
       R"("use_parallel_residual":false,"rotary_pct":0.7,"rotary_emb_base":300)"},
      {"bert", "bert", ""},
  };
}

// A whole config.json.
inline std::string family_config(const FamilyConfig& c, int layers = 2) {
  std::string text = R"({"model_type":")" + c.model_type + R"(","torch_dtype":"float32")" +
                     R"(,"initializer_range":0.3)";
  if (!c.own_sizes) {
    text += R"(,"hidden_size":24,"intermediate_size":40,"num_hidden_layers":2,"vocab_size":61,)"
            R"("num_attention_heads":4,"num_key_value_heads":2)";
    if (c.keys.find("\"max_position_embeddings\"") == std::string::npos)
      text += R"(,"max_position_embeddings":96)";
  }
  if (!c.keys.empty()) text += "," + c.keys;
  text += "}";
  if (layers == 2) return text;
  for (const char* key : {"\"num_hidden_layers\":2", "\"n_layer\":2"})
    if (const size_t at = text.find(key); at != std::string::npos)
      text.replace(at + std::string(key).size() - 1, 1, std::to_string(layers));
  for (const char* list : {R"("sliding_attention","full_attention")", "[1,0]"})
    if (const size_t at = text.find(list); at != std::string::npos && layers == 1)
      text.replace(at, std::string(list).size(),
                   std::string(list) == "[1,0]" ? "[0]" : R"("sliding_attention")");
  return text;
}

}  // namespace nibble::testing
