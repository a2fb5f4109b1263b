#include "model/files/bnb_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "quant/format.h"

namespace nibble {
namespace {

const std::vector<std::string> kKeys = {"_load_in_4bit",
                                        "_load_in_8bit",
                                        "bnb_4bit_compute_dtype",
                                        "bnb_4bit_quant_storage",
                                        "bnb_4bit_quant_type",
                                        "bnb_4bit_use_double_quant",
                                        "llm_int8_enable_fp32_cpu_offload",
                                        "llm_int8_has_fp16_weight",
                                        "llm_int8_skip_modules",
                                        "llm_int8_threshold",
                                        "load_in_4bit",
                                        "load_in_8bit",
                                        "quant_method"};

class Reader {
 public:
  Reader(const Json& json, const std::string& where) : json_(json), where_(where) {}

  [[noreturn]] void fail(const std::string& what, const std::string& hint) const {
    throw UserError(where_, cat("quantization_config: ", what), hint, Exit::bad_data);
  }

  bool flag(const char* key, bool otherwise) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) wrong(key, *value, "true or false");
    return value->get<bool>();
  }
  // Both spellings of one flag.
  bool load(const std::string& key) const {
    const std::string hidden = "_" + key;
    const bool a = flag(key.c_str(), flag(hidden.c_str(), false));
    if (a != flag(hidden.c_str(), a))
      fail(cat(key, " is ", a, ", ", hidden, " is ", !a), "make both the same");
    return a;
  }
  std::string text(const char* key, const std::string& otherwise,
                   const std::vector<std::string>& allowed) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    const std::string text = value->is_string() ? value->get<std::string>() : "";
    if (std::find(allowed.begin(), allowed.end(), text) == allowed.end())
      wrong(key, *value, join(allowed, ", "));
    return text;
  }
  double number(const char* key, double otherwise) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number() || value->get<double>() < 0) wrong(key, *value, "a number from 0");
    return value->get<double>();
  }
  std::optional<std::vector<std::string>> list(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    std::vector<std::string> names;
    if (!value->is_array()) wrong(key, *value, "null or a list of module names");
    for (const Json& name : *value) {
      if (!name.is_string()) wrong(key, *value, "null or a list of module names");
      names.push_back(name.get<std::string>());
    }
    return names;
  }
  void refuse_unknown() const {
    for (const auto& item : json_.items()) {
      if (std::find(kKeys.begin(), kKeys.end(), item.key()) != kKeys.end()) continue;
      const std::string close = nearest(item.key(), kKeys);
      fail(cat("unknown key '", item.key(), "' with value ", dump_json(item.value())),
           close.empty() ? cat("known keys are ", join(kKeys, ", "))
                         : cat("did you mean '", close, "'? Known keys are ", join(kKeys, ", ")));
    }
  }

 private:
  const Json* find(const char* key) const {
    const auto it = json_.find(key);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  [[noreturn]] void wrong(const char* key, const Json& value, const std::string& allowed) const {
    fail(cat(key, " is ", dump_json(value)), cat("it may be ", allowed));
  }
  const Json& json_;
  const std::string& where_;
};

// bitsandbytes' two, and those that nibble writes in the same layout.
std::vector<std::string> four_bit_types() {
  std::vector<std::string> types;
  for (const std::string& name : format_names())
    if (rule_of(*format_named(name)).coded) types.push_back(name);
  return types;
}

}  // namespace

std::optional<BnbConfig> read_bnb_config(const Json& config, const std::string& where) {
  const auto it = config.find("quantization_config");
  if (it == config.end() || it->is_null()) return std::nullopt;
  const Reader r(*it, where);
  if (!it->is_object()) r.fail("is no object", "take it from the model's config.json as saved");
  const Json method = it->value("quant_method", Json("bitsandbytes"));
  if (method != "bitsandbytes")
    r.fail(cat("quant_method ", dump_json(method), " is not supported yet"),
           "bitsandbytes 4-bit and 8-bit directories and unquantized ones are");
  r.refuse_unknown();
  BnbConfig c;
  c.four_bit = r.load("load_in_4bit");
  c.eight_bit = r.load("load_in_8bit");
  if (c.four_bit == c.eight_bit)
    r.fail(c.four_bit ? "load_in_4bit and load_in_8bit are both true"
                      : "neither load_in_4bit nor load_in_8bit is true",
           "exactly one says how the weights are stored");
  const std::vector<std::string> floats = {"float32", "bfloat16", "float16"};
  c.compute_dtype = r.text("bnb_4bit_compute_dtype", c.compute_dtype, floats);
  c.storage = r.text("bnb_4bit_quant_storage", c.storage,
                     {"uint8", "bfloat16", "float16", "float32", "int8", "float64"});
  c.type = r.text("bnb_4bit_quant_type", c.type, four_bit_types());
  c.double_quant = r.flag("bnb_4bit_use_double_quant", false);
  c.cpu_offload = r.flag("llm_int8_enable_fp32_cpu_offload", false);
  if (r.flag("llm_int8_has_fp16_weight", false))
    r.fail("llm_int8_has_fp16_weight is true: such files hold 16-bit weights to be trained",
           "save the model with llm_int8_has_fp16_weight false, or use the unquantized one");
  c.skip = r.list("llm_int8_skip_modules");
  c.threshold = r.number("llm_int8_threshold", c.threshold);
  return c;
}

Json bnb_config_json(const BnbConfig& c) {
  Json json = Json::object();
  json["_load_in_4bit"] = c.four_bit;
  json["_load_in_8bit"] = c.eight_bit;
  json["bnb_4bit_compute_dtype"] = c.compute_dtype;
  json["bnb_4bit_quant_storage"] = c.storage;
  json["bnb_4bit_quant_type"] = c.type;
  json["bnb_4bit_use_double_quant"] = c.double_quant;
  json["llm_int8_enable_fp32_cpu_offload"] = c.cpu_offload;
  json["llm_int8_has_fp16_weight"] = false;
  json["llm_int8_skip_modules"] = nullptr;
  if (c.skip) json["llm_int8_skip_modules"] = *c.skip;
  json["llm_int8_threshold"] = c.threshold;
  json["load_in_4bit"] = c.four_bit;
  json["load_in_8bit"] = c.eight_bit;
  json["quant_method"] = "bitsandbytes";
  return json;
}

void set_bnb_config(Json& config, const BnbConfig& value) {
  const std::string key = "quantization_config";
  if (config.contains(key)) {
    config[key] = bnb_config_json(value);
    return;
  }
  Json made = Json::object();
  bool placed = false;
  for (const auto& item : config.items()) {
    if (!placed && item.key() > key) {
      made[key] = bnb_config_json(value);
      placed = true;
    }
    made[item.key()] = item.value();
  }
  if (!placed) made[key] = bnb_config_json(value);
  config = std::move(made);
}

}  // namespace nibble
