// A recipe: every key a training run understands, declared once. Names are axolotl's; the spellings
// of Hugging Face and of bitsandbytes' config are aliases.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/settings.h"
#include "model/files/peft.h"
#include "model/model.h"
#include "optim/names.h"
#include "optim/overrides.h"

namespace nibble {

// One entry of `datasets`.
struct DatasetSpec {
  std::string path;
  std::string type;  // "" (seen from the first row), completion, alpaca, chat_template, tokens
  Where where;
};

// Tokens with a part to play.
struct SpecialTokens {
  std::vector<std::pair<std::string, std::string>> roles;  // "bos_token" and the token
  std::vector<std::string> additional;
  bool empty() const { return roles.empty() && additional.empty(); }
};
// One entry of `trainable_token_indices`, ids ascending.
struct TokenIndex {
  int64_t id = 0;
  Where where;
};
struct TrainedRows {
  std::string table;  // "": the embedding
  Where where;
  std::vector<TokenIndex> ids;
};

struct Recipe {
  std::string base_model;
  std::string adapter = "qlora";
  bool load_in_4bit = true, load_in_8bit = false;
  QuantSpec quant;
  std::string quant_type = "nf4", quant_storage = "uint8", quant_method = "bitsandbytes";
  std::vector<QuantRule> quant_modules;
  std::optional<std::vector<std::string>> quant_skip;
  double llm_int8_threshold = 6;
  bool llm_int8_has_fp16_weight = false, llm_int8_cpu_offload = false;
  std::string dtype = "bf16";
  std::string bf16;  // transformers' words for dtype
  bool fp16 = false;

  int64_t lora_r = 16;
  double lora_alpha = 32;
  double lora_dropout = 0;
  std::vector<std::string> lora_target_modules{"all-linear"};
  bool use_rslora = false;
  std::string lora_model_dir;
  std::vector<std::string> lora_modules_to_save;

  std::vector<std::string> tokens;
  SpecialTokens special_tokens;
  Where tokens_where;  // of either
  std::vector<TrainedRows> trainable_token_indices;

  std::vector<DatasetSpec> datasets, test_datasets;
  double val_set_size = 0;
  int64_t sequence_len = 2048;
  bool sample_packing = false;
  bool shuffle = true;
  bool train_on_inputs = false;
  std::string chat_template = "tokenizer_default", chat_template_jinja;
  Where chat_template_where;  // of the key that chose the template

  std::string optimizer = "adamw_8bit";
  double learning_rate = 2e-4;
  std::string lr_scheduler = "cosine";
  int64_t warmup_steps = 0;
  double warmup_ratio = 0;
  double weight_decay = 0;
  RuleOptions optim_args;
  std::map<std::string, Where> optim_args_places;
  std::optional<double> adam_beta1, adam_beta2, adam_beta3, adam_epsilon;  // none: the rule's own
  std::optional<double> loraplus_lr_ratio, loraplus_lr_embedding;
  int64_t optimizer_block_size = 256;
  std::string state_codec = "default";
  int64_t min_8bit_size = 4096;
  std::vector<PlacedOverride> optimizer_overrides;
  std::string optimizer_state_budget = "0";  // bytes, with or without a unit
  std::string master_dtype = "f32";
  bool stochastic_rounding = true;
  double max_grad_norm = 1.0, max_grad_value = 0;
  int64_t percentile_clipping = 100;
  int64_t max_bad_steps = 10;

  int64_t micro_batch_size = 1;
  int64_t gradient_accumulation_steps = 1;
  std::optional<int64_t> max_steps;
  double num_epochs = 1;
  std::string gradient_checkpointing = "off";
  int64_t seed = 42;

  std::string output_dir;
  std::string save_dtype = "f32";
  int64_t save_steps = 0;  // 0: only at the end and on a signal
  int64_t save_total_limit = 3;
  int64_t eval_steps = 0;  // 0: at the end
  int64_t logging_steps = 1;
  std::string resume_from_checkpoint;  // "", auto or a folder
  int64_t threads = 0;

  std::string file;                // where it was read from
  std::vector<std::string> given;  // keys that the user gave, in any source
  bool gives(std::string_view key) const;

  void declare(Settings& settings);
  // Reads the file and the overrides, finds every mistake, throws them all. `settings` keeps the
  // rows for dump() and places and points into this object.
  void read(const std::string& path,
            const std::vector<std::pair<std::string, std::string>>& overrides, Settings& settings);

  // Every setting that has a meaning in this run, as a recipe that reads back the same.
  std::string resolved(const Settings& settings) const;

  bool full() const { return adapter == "full"; }
  DType compute() const;
  // Which chat template, as user_template() takes it; "": the model's own.
  std::string template_choice() const;
  LoadOptions load_options() const;
  QuantPlan quant_plan() const;  // recipe_quant.cpp, with the two below
  void quant_contradictions(Settings& settings);
  AdapterConfig adapter_config() const;
  OptimizerName optimizer_name() const;
  OptimizerOptions optimizer_options() const;
  SettingsPlan settings_plan() const;

 private:
  void declare_model(Settings& settings);
  void declare_quant(Settings& settings);
  void declare_adapter(Settings& settings);
  void declare_data(Settings& settings);
  void declare_tokens(Settings& settings);
  void declare_precision(Settings& settings);
  void declare_optimizer(Settings& settings);
  void declare_states(Settings& settings);
  void declare_bounds(Settings& settings);
  void declare_run(Settings& settings);
  void contradictions(Settings& settings);
  void precision_contradictions(Settings& settings);
  void settle_precision(const Settings& settings);
  void optimizer_contradictions(Settings& settings);
  void check_rule_numbers(const OptimizerName& name, Settings& settings);
  RuleOptions rule_numbers() const;
  std::vector<std::string> silent_optimizer_keys() const;
};

}  // namespace nibble
