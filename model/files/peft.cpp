#include "model/files/peft.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/errors.h"
#include "base/files.h"
#include "model/decoder.h"
#include "model/files/peft_tokens.h"
#include "model/files/safetensors.h"

namespace nibble {
namespace {

constexpr char kPrefix[] = "base_model.model.";

[[noreturn]] void refuse(const std::string& where, std::string what, std::string hint = "") {
  throw UserError(where, std::move(what), std::move(hint), Exit::bad_data);
}

// Python's re.fullmatch, which PEFT uses for a string of target_modules.
class Regex {
 public:
  explicit Regex(const std::string& pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                          PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF, &error, &offset, nullptr);
    if (code_ == nullptr) {
      PCRE2_UCHAR text[120];
      pcre2_get_error_message(error, text, sizeof text);
      throw UserError("lora_target_modules",
                      cat("regex '", pattern, "' at character ", static_cast<uint64_t>(offset),
                          ": ", reinterpret_cast<const char*>(text)),
                      "use module names, a regex on the whole path, or all-linear");
    }
    data_ = pcre2_match_data_create_from_pattern(code_, nullptr);
  }
  ~Regex() {
    pcre2_match_data_free(data_);
    pcre2_code_free(code_);
  }
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  bool matches(const std::string& text) const {
    return pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data_,
                       nullptr) > 0;
  }

 private:
  pcre2_code* code_ = nullptr;
  pcre2_match_data* data_ = nullptr;
};

bool is_suffix(const std::string& path, const std::string& name) {
  return path == name || ends_with(path, "." + name);
}

// Keys of an adapter_config.json that nibble reads or that cannot change its numbers.
const char* const kRead[] = {"r",          "lora_alpha",      "lora_dropout",
                             "use_rslora", "target_modules",  "base_model_name_or_path",
                             "peft_type",  "modules_to_save", "trainable_token_indices"};
const char* const kHarmless[] = {"auto_mapping",   "inference_mode", "init_lora_weights",
                                 "megatron_core",  "peft_version",   "revision",
                                 "task_type",      "layers_pattern", "qalora_group_size",
                                 "runtime_config", "fan_in_fan_out"};

template <size_t N>
bool listed(const char* const (&names)[N], const std::string& key) {
  return std::find(std::begin(names), std::end(names), key) != std::end(names);
}

bool says_nothing(const Json& value) {
  return value.is_null() || value == Json(false) || value == Json("none") ||
         ((value.is_object() || value.is_array()) && value.empty());
}

Tensor to_f32(const Device& device, Tensor x, Purpose purpose) {
  if (x.dtype() == DType::f32) return x;
  Tensor y = Tensor::empty(device.memory(), x.shape(), DType::f32, purpose);
  device.kernels().cast(device.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(),
                        DType::f32, y.raw(), y.pitch());
  return y;
}

Tensor read_factor(const Device& device, const TensorFiles& files, const std::string& name,
                   Shape wanted) {
  const TensorInfo& info = files.get(name);
  Tensor t = files.read(name, device.memory(), Purpose::adapter);
  if (!(t.shape() == wanted))
    refuse(files.where(info),
           cat("has shape ", info.shape_str(), ", the base needs ", wanted.str()),
           "the adapter belongs to another base model");
  if (!is_float(t.dtype())) refuse(files.where(info), cat("has dtype ", info.dtype_name));
  return to_f32(device, t, Purpose::adapter);
}

}  // namespace

double AdapterConfig::scale() const {
  return alpha / (rslora ? std::sqrt(static_cast<double>(r)) : static_cast<double>(r));
}

std::vector<std::string> match_targets(const AdapterConfig& config,
                                       const std::vector<std::string>& linear_paths,
                                       const std::string& head_path) {
  if (config.all_linear) return linear_paths;
  std::vector<std::string> found;
  if (!config.target_regex.empty()) {
    Regex regex(config.target_regex);
    for (const std::string& path : linear_paths)
      if (regex.matches(path)) found.push_back(path);
    if (found.empty())
      throw UserError("lora_target_modules",
                      cat("regex '", config.target_regex, "' matches no linear layer"),
                      cat("a path looks like ", linear_paths.empty() ? "" : linear_paths[0]));
    return found;
  }
  std::set<std::string> names;
  for (const std::string& path : linear_paths) names.insert(path.substr(path.rfind('.') + 1));
  for (const std::string& target : config.target_modules) {
    if (is_suffix(head_path, target))
      throw UserError("lora_target_modules", cat("'", target, "' is the output head: not yet"),
                      "adapters on the head or the embedding are not supported yet");
    bool any = false;
    for (const std::string& path : linear_paths) any = any || is_suffix(path, target);
    if (any) continue;
    std::vector<std::string> known(names.begin(), names.end());
    throw UserError("lora_target_modules", cat("'", target, "' matches no linear layer"),
                    cat("this model has ", join(known, ", ")));
  }
  for (const std::string& path : linear_paths)
    for (const std::string& target : config.target_modules)
      if (is_suffix(path, target)) {
        found.push_back(path);
        break;
      }
  return found;
}

AdapterConfig read_adapter_config(const std::string& directory) {
  const std::string where = join_path(directory, "adapter_config.json");
  if (!exists(where))
    throw UserError(directory, "has no adapter_config.json",
                    "name a folder that PEFT or nibble train wrote", Exit::missing_input);
  Json json = read_json(where);
  if (!json.is_object()) refuse(where, "is not a JSON object");
  if (json.value("peft_type", std::string("LORA")) != "LORA")
    refuse(where, cat("peft_type ", json["peft_type"].dump(), " is not supported yet"),
           "LORA adapters are");
  AdapterConfig config;
  for (const auto& item : json.items()) {
    const std::string& key = item.key();
    if (listed(kRead, key) || listed(kHarmless, key) || says_nothing(item.value())) continue;
    refuse(where, cat("'", key, "': ", item.value().dump(), " is not supported yet"),
           "plain LoRA and rsLoRA adapters are");
  }
  auto number = [&](const char* key, double otherwise) {
    auto it = json.find(key);
    if (it == json.end() || it->is_null()) return otherwise;
    if (!it->is_number()) refuse(where, cat("'", key, "' must be a number, got ", it->dump()));
    return it->get<double>();
  };
  config.r = static_cast<int64_t>(number("r", 8));
  config.alpha = number("lora_alpha", 8);
  config.dropout = number("lora_dropout", 0);
  config.rslora = json.contains("use_rslora") && json["use_rslora"] == Json(true);
  if (config.r < 1) refuse(where, cat("'r' must be at least 1, got ", config.r));
  if (json.contains("base_model_name_or_path") && json["base_model_name_or_path"].is_string())
    config.base_model = json["base_model_name_or_path"].get<std::string>();
  read_token_settings(json, where, config);
  const Json targets = json.value("target_modules", Json());
  if (targets.is_string() && targets == "all-linear") {
    config.all_linear = true;
  } else if (targets.is_string()) {
    config.target_regex = targets.get<std::string>();
  } else if (targets.is_array()) {
    for (const Json& t : targets)
      if (t.is_string()) config.target_modules.push_back(t.get<std::string>());
  }
  return config;
}

AdapterConfig load_adapter(const std::string& directory, Decoder& decoder, int slot, bool trains,
                           const Device& device) {
  AdapterConfig config = read_adapter_config(directory);
  const std::string path = join_path(directory, "adapter_model.safetensors");
  if (!exists(path))
    throw UserError(directory, "has no adapter_model.safetensors",
                    "adapters in other containers are not supported yet", Exit::missing_input);
  TensorFiles files = TensorFiles::open_file(path);
  const StoredTokens tokens = read_stored_tokens(config, files, decoder.blueprint(), device);
  load_tokens(tokens, files, decoder, slot, trains, device);
  std::set<std::string> known = tokens.names;
  int64_t count = 0;
  for (Linear* linear : decoder.linears()) {
    const std::string name = kPrefix + linear->path();
    const std::string a = name + ".lora_A.weight", b = name + ".lora_B.weight";
    if (files.find(a) == nullptr && files.find(b) == nullptr) continue;
    auto pair = std::make_shared<LoraPair>();
    pair->a.name = linear->path() + ".lora_A.weight";
    pair->b.name = linear->path() + ".lora_B.weight";
    pair->a.value = read_factor(device, files, a, {config.r, linear->in()});
    pair->b.value = read_factor(device, files, b, {linear->out(), config.r});
    pair->scale = config.scale();
    pair->dropout = trains ? config.dropout : 0;
    pair->trains = trains;
    pair->site = rng_site(linear->path());
    linear->set_adapter(slot, pair);
    known.insert(a);
    known.insert(b);
    ++count;
  }
  for (const TensorInfo& info : files.tensors())
    if (known.count(info.name) == 0)
      refuse(files.where(info), "belongs to no linear layer of the base",
             "the adapter is of another base model, or of a kind that is not supported yet");
  if (count == 0) refuse(path, "holds no LoRA tensors for this base");
  for (auto& [table, ids] : config.token_indices) std::sort(ids.begin(), ids.end());
  return config;
}

void save_adapter(const std::string& directory, const AdapterConfig& config, const Decoder& decoder,
                  int slot) {
  NamedTensors tensors;
  for (const Linear* linear : decoder.linears()) {
    const auto& pair = linear->adapter(slot);
    if (!pair) continue;
    tensors.emplace_back(kPrefix + linear->path() + ".lora_A.weight", pair->a.value);
    tensors.emplace_back(kPrefix + linear->path() + ".lora_B.weight", pair->b.value);
  }
  for (auto& tensor : saved_tokens(config, decoder, slot)) tensors.push_back(std::move(tensor));
  write_safetensors(join_path(directory, "adapter_model.safetensors"), tensors);

  Json json = Json::object();
  json["alpha_pattern"] = Json::object();
  json["auto_mapping"] = nullptr;
  json["base_model_name_or_path"] = config.base_model;
  json["bias"] = "none";
  json["fan_in_fan_out"] = decoder.blueprint().transposed;
  json["inference_mode"] = true;
  json["init_lora_weights"] = true;
  json["layer_replication"] = nullptr;
  json["layers_pattern"] = nullptr;
  json["layers_to_transform"] = nullptr;
  json["loftq_config"] = Json::object();
  json["lora_alpha"] = config.alpha == std::floor(config.alpha)
                           ? Json(static_cast<int64_t>(config.alpha))
                           : Json(config.alpha);
  json["lora_dropout"] = config.dropout;
  json["megatron_config"] = nullptr;
  json["megatron_core"] = "megatron.core";
  json["modules_to_save"] = nullptr;
  json["peft_type"] = "LORA";
  json["r"] = config.r;
  json["rank_pattern"] = Json::object();
  json["revision"] = nullptr;
  if (!config.target_regex.empty()) {
    json["target_modules"] = config.target_regex;
  } else {
    std::set<std::string> names(config.target_modules.begin(), config.target_modules.end());
    if (config.all_linear)
      for (const Linear* linear : decoder.linears())
        names.insert(linear->path().substr(linear->path().rfind('.') + 1));
    json["target_modules"] = std::vector<std::string>(names.begin(), names.end());
  }
  json["task_type"] = "CAUSAL_LM";
  write_token_settings(config, json);
  json["use_dora"] = false;
  json["use_rslora"] = config.rslora;
  write_file(join_path(directory, "adapter_config.json"), dump_json(json, 2) + "\n");
}

}  // namespace nibble
