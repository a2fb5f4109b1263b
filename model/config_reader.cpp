#include "model/config_reader.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"

namespace nibble {
namespace {

// Keys that tools write and that no forward pass reads.
const char* const kHarmless[] = {"_name_or_path",
                                 "architectures",
                                 "auto_map",
                                 "transformers_version",
                                 "use_cache",
                                 "initializer_range",
                                 "pretraining_tp",
                                 "torch_dtype",
                                 "dtype",
                                 "model_type",
                                 "attention_dropout",
                                 "output_attentions",
                                 "output_hidden_states",
                                 "return_dict",
                                 "task_specific_params",
                                 "unsloth_version",
                                 "unsloth_fixed",
                                 "bos_token_id",
                                 "eos_token_id",
                                 "pad_token_id",
                                 "sep_token_id",
                                 "decoder_start_token_id",
                                 "id2label",
                                 "label2id",
                                 "problem_type",
                                 "finetuning_task",
                                 "tokenizer_class",
                                 "prefix",
                                 "is_decoder",
                                 "is_encoder_decoder",
                                 "chunk_size_feed_forward",
                                 "mlp_dropout",
                                 "hidden_dropout",
                                 "hidden_dropout_prob",
                                 "attention_probs_dropout_prob",
                                 "embedding_dropout",
                                 "residual_dropout",
                                 "classifier_dropout",
                                 "dropout",
                                 "summary_activation",
                                 "summary_first_dropout",
                                 "summary_proj_to_labels",
                                 "summary_type",
                                 "summary_use_proj",
                                 "cross_attention_hidden_size",
                                 "cache_implementation",
                                 "gradient_checkpointing_func",
                                 "_attn_implementation_internal",
                                 "model_max_length",
                                 "max_new_tokens",
                                 "_attn_implementation",
                                 "_attn_implementation_autoset",
                                 "is_llama_config",
                                 "transformers.js_config",
                                 "return_dict_in_generate",
                                 "use_bfloat16",
                                 "tf_legacy_loss",
                                 "torchscript",
                                 "gradient_checkpointing",
                                 "embd_pdrop",
                                 "resid_pdrop",
                                 "attn_pdrop",
                                 "max_length",
                                 "temperature",
                                 "top_k",
                                 "top_p",
                                 "do_sample",
                                 "output_scores"};

}  // namespace

ConfigReader::ConfigReader(const Json& config, std::string where)
    : config_(config), where_(std::move(where)) {
  if (!config.is_object())
    throw UserError(where_, "is not a JSON object", "name a model's config.json", Exit::bad_data);
}

bool ConfigReader::has(const std::string& key) const {
  auto it = config_.find(key);
  return it != config_.end() && !it->is_null();
}

bool ConfigReader::given(const std::string& key) const { return config_.contains(key); }

void ConfigReader::refuse(const std::string& key, const std::string& what,
                          const std::string& hint) const {
  throw UserError(where_, cat("'", key, "' ", what), hint, Exit::bad_data);
}

const Json* ConfigReader::raw(const std::string& key) {
  used_.insert(key);
  return has(key) ? &config_[key] : nullptr;
}

int64_t ConfigReader::integer(const std::string& key) {
  const Json* value = raw(key);
  if (value == nullptr) refuse(key, "is missing", "a model's config.json must give it");
  return integer(key, 0);
}

int64_t ConfigReader::integer(const std::string& key, int64_t otherwise) {
  const Json* value = raw(key);
  if (value == nullptr) return otherwise;
  if (!value->is_number_integer() || value->get<double>() < 1 || value->get<double>() > 1e12)
    refuse(key, cat("must be a positive integer, got ", value->dump()));
  return value->get<int64_t>();
}

int64_t ConfigReader::count(const std::string& key, int64_t otherwise) {
  const Json* value = raw(key);
  return value != nullptr && *value == 0 ? 0 : integer(key, otherwise);
}

std::optional<int64_t> ConfigReader::token(const std::string& key) {
  const Json* value = raw(key);
  if (value == nullptr || !value->is_number_integer() || value->get<int64_t>() < 0) return {};
  return value->get<int64_t>();
}

std::vector<int64_t> ConfigReader::tokens(const std::string& key) {
  const Json* value = raw(key);
  std::vector<int64_t> ids;
  if (value == nullptr) return ids;
  if (value->is_number_integer()) ids.push_back(value->get<int64_t>());
  if (value->is_array())
    for (const Json& id : *value)
      if (id.is_number_integer()) ids.push_back(id.get<int64_t>());
  return ids;
}

double ConfigReader::number(const std::string& key, double otherwise) {
  const Json* value = raw(key);
  if (value == nullptr) return otherwise;
  if (!value->is_number()) refuse(key, cat("must be a number, got ", value->dump()));
  return value->get<double>();
}

bool ConfigReader::boolean(const std::string& key, bool otherwise) {
  const Json* value = raw(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) refuse(key, cat("must be true or false, got ", value->dump()));
  return value->get<bool>();
}

std::string ConfigReader::text(const std::string& key, const std::string& otherwise) {
  const Json* value = raw(key);
  if (value == nullptr) return otherwise;
  if (!value->is_string()) refuse(key, cat("must be a string, got ", value->dump()));
  return value->get<std::string>();
}

void ConfigReader::only(const std::string& key, const Json& value, const std::string& why) {
  const Json* given = raw(key);
  if (given != nullptr && *given != value) refuse(key, cat("is ", given->dump()), why);
}

void ConfigReader::only(const std::string& key, bool value, const std::string& why) {
  only(key, Json(value), why);
}

void ConfigReader::only(const std::string& key, const char* value, const std::string& why) {
  only(key, Json(value), why);
}

std::vector<UserError> ConfigReader::left_over() const {
  std::vector<UserError> all;
  for (const auto& item : config_.items()) {
    const std::string& key = item.key();
    if (used_.count(key) != 0) continue;
    if (std::find(std::begin(kHarmless), std::end(kHarmless), key) != std::end(kHarmless)) continue;
    if (item.value().is_null() || item.value() == Json(false)) continue;  // says "not used"
    const std::string close = nearest(key, {used_.begin(), used_.end()});
    all.emplace_back(where_, cat("unknown key '", key, "' could change this model's numbers"),
                     close.empty()
                         ? "nibble computes only what it knows; remove the key if it means nothing"
                         : cat("did you mean '", close, "'? nibble computes only what it knows"),
                     Exit::bad_data);
  }
  return all;
}

void ConfigReader::finish() const {
  std::vector<UserError> all = left_over();
  if (all.size() == 1) throw all[0];
  if (!all.empty()) throw UserErrors(std::move(all), Exit::bad_data);
}

}  // namespace nibble
