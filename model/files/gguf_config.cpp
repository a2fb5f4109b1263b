// Metadata ↔ config.json by the rows of an architecture, and what is special about each side:
// floats that went through fp32, sizes that follow from others, token ids, ties.
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/errors.h"
#include "model/files/gguf_architecture.h"
#include "model/files/gguf_rope.h"

namespace nibble {
namespace {

// Keys of an architecture that say nothing about its numbers, or the same as another.
const char* const kHarmless[] = {"vocab_size", "tensor_data_layout", "rope.scaling.finetuned",
                                 "attention.value_length"};

// Keys that may be there as long as they say "no".
const char* const kOff[] = {"expert_count",
                            "expert_used_count",
                            "pooling_type",
                            "attention.max_alibi_bias",
                            "attention.clamp_kqv",
                            "nextn_predict_layers",
                            "leading_dense_block_count"};

class MetadataReader {
 public:
  MetadataReader(const Gguf& file, const GgufArchitecture& a) : file_(file), prefix_(a.name) {
    prefix_ += '.';
  }

  void take(const GgufKeyRow& row, Json& config) {
    const std::string key = used(row.gguf);
    if (file_.find(key) == nullptr) {
      if (row.required)
        throw UserError(file_.path, cat("has no key '", key, "'"),
                        "the file is damaged or was made by something else than a converter",
                        Exit::bad_data);
      return;
    }
    if (row.kind == KeyKind::boolean) {
      config[row.hf] = *file_.boolean(key);
    } else if (row.kind == KeyKind::number) {
      config[row.hf] = as_decimal(*file_.number(key));
    } else {
      config[row.hf] = size(key);
    }
  }

  // One size; an array of equal ones (some converters write one a layer) counts as one.
  int64_t size(const std::string& key) {
    const GgufValue* v = file_.find(key);
    if (v != nullptr && v->is_array && v->is_integer() && !v->integers.empty()) {
      for (const int64_t n : v->integers)
        if (n != v->integers[0])
          file_.refuse(key, cat("differs by layer: ", v->integers[0], " and ", n),
                       "models whose layers differ are not supported");
      return checked(key, v->integers[0]);
    }
    return checked(key, *file_.integer(key));
  }

  std::string used(const std::string& suffix) {
    used_.insert(prefix_ + suffix);
    return prefix_ + suffix;
  }

  // What is left over could change numbers.
  void finish() {
    for (const char* suffix : kHarmless) used(suffix);
    for (const auto& [key, value] : file_.metadata) {
      if (!starts_with(key, prefix_) || used_.count(key) != 0 || off(key, value)) continue;
      file_.refuse(key, "is not known and could change this model's numbers",
                   "nibble computes only what it knows");
    }
  }

 private:
  int64_t checked(const std::string& key, int64_t n) const {
    if (n < 0 || n > (int64_t{1} << 40)) file_.refuse(key, cat("is ", n));
    return n;
  }

  bool off(const std::string& key, const GgufValue& value) const {
    const std::string suffix = key.substr(prefix_.size());
    if (suffix == "attention.causal") return !value.integers.empty() && value.integers[0] == 1;
    for (const char* name : kOff)
      if (suffix == name)
        return !value.is_array &&
               (value.is_real() ? value.reals[0] == 0
                                : value.integers.size() == 1 && value.integers[0] == 0);
    return false;
  }

  const Gguf& file_;
  std::string prefix_;
  std::set<std::string> used_;
};

const GgufTensor* tensor_of(const Gguf& file, std::string_view name) {
  for (const GgufTensor& t : file.tensors)
    if (t.name == name) return &t;
  return nullptr;
}

// What the weights of most matrices are, as config.json names it. Blocks decode to f32.
const char* dtype_of(const Gguf& file) {
  bool bf16 = false, f16 = false;
  for (const GgufTensor& t : file.tensors) {
    if (t.shape.size() < 2) continue;
    if (t.type->format || t.type->dtype == DType::f32) return "float32";
    bf16 = bf16 || t.type->dtype == DType::bf16;
    f16 = f16 || t.type->dtype == DType::f16;
  }
  return bf16 && !f16 ? "bfloat16" : f16 && !bf16 ? "float16" : "float32";
}

// config.json with what a blueprint makes of keys that it leaves out or spells in another way.
Json facts_of(const Json& config, const Blueprint& b) {
  Json facts = config;
  const std::pair<const char*, int64_t> sizes[] = {{"max_position_embeddings", b.max_positions},
                                                   {"n_positions", b.max_positions},
                                                   {"hidden_size", b.hidden},
                                                   {"n_embd", b.hidden},
                                                   {"num_hidden_layers", b.layers},
                                                   {"n_layer", b.layers},
                                                   {"intermediate_size", b.intermediate},
                                                   {"n_inner", b.intermediate},
                                                   {"ffn_hidden_size", b.intermediate},
                                                   {"num_attention_heads", b.heads},
                                                   {"n_head", b.heads},
                                                   {"num_key_value_heads", b.kv_heads},
                                                   {"num_kv_heads", b.kv_heads}};
  for (const auto& [key, value] : sizes) facts[key] = value;
  for (const char* key : {"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"})
    facts[key] = b.norm_eps;
  if (facts.contains("head_dim") || b.head_dim * b.heads != b.hidden)
    facts["head_dim"] = b.head_dim;
  if (!facts.contains("use_parallel_residual")) facts["use_parallel_residual"] = b.parallel;
  if (!facts.contains("logit_scale")) facts["logit_scale"] = b.logits.scale;
  return facts;
}

void read_token_ids(const Gguf& file, Json& config) {
  const std::pair<const char*, const char*> kIds[] = {
      {"tokenizer.ggml.bos_token_id", "bos_token_id"},
      {"tokenizer.ggml.eos_token_id", "eos_token_id"},
      {"tokenizer.ggml.padding_token_id", "pad_token_id"}};
  for (const auto& [key, name] : kIds)
    if (const auto id = file.integer(key)) config[name] = *id;
  // A chat's turn may end with a token of its own: both end a text.
  const auto eot = file.integer("tokenizer.ggml.eot_token_id");
  if (eot && config.contains("eos_token_id") && config["eos_token_id"] != *eot)
    config["eos_token_id"] = {config["eos_token_id"], *eot};
}

}  // namespace

Json config_of(const Gguf& file, const GgufArchitecture& a, const ReadFactors& factors) {
  Json config = {{"architectures", {a.model_class}}, {"model_type", a.model_type}};
  MetadataReader reader(file, a);
  for (const GgufKeyRow& row : a.keys) reader.take(row, config);
  const GgufTensor* table = tensor_of(file, "token_embd.weight");
  if (table == nullptr || table->shape.size() != 2)
    throw UserError(file.path, "has no tensor 'token_embd.weight' of two dimensions",
                    "the file holds no language model", Exit::bad_data);
  config["vocab_size"] = table->shape[0];
  const HeadSizes sizes = head_sizes(config);
  if (sizes.heads <= 0 || sizes.kv_heads <= 0 || sizes.heads % sizes.kv_heads != 0 ||
      sizes.head_dim <= 0)
    throw UserError(file.path,
                    cat("has ", sizes.heads, " heads of width ", sizes.head_dim, " and ",
                        sizes.kv_heads, " key heads"),
                    "the file is damaged", Exit::bad_data);
  const std::string value_length = cat(a.name, ".attention.value_length");
  if (const auto n = file.integer(value_length); n && *n != sizes.head_dim)
    file.refuse(value_length, cat("is ", *n, ", keys have ", sizes.head_dim),
                "values of another width than keys are not supported");
  for (const char* key : kRopeKeys) reader.used(key);
  read_gguf_rope(file, a, sizes, factors, config);
  if (a.read != nullptr) a.read(file, config);
  config["tie_word_embeddings"] = tensor_of(file, "output.weight") == nullptr;
  read_token_ids(file, config);
  config["dtype"] = dtype_of(file);
  reader.finish();
  return config;
}

GgufConfig gguf_config(const Json& config, const Blueprint& b, const std::string& where,
                       const GgufArchitecture& a) {
  GgufConfig out;
  const Json facts = facts_of(config, b);
  for (const GgufKeyRow& row : a.keys) {
    const auto given = facts.find(row.hf);
    const std::string key = cat(a.name, ".", row.gguf);
    if (given == facts.end() || given->is_null()) {
      check(!row.required, cat("gguf: no value for ", row.hf));
      continue;
    }
    if (row.kind == KeyKind::boolean && given->is_boolean()) {
      out.metadata.emplace_back(key, GgufValue::of(given->get<bool>()));
    } else if (row.kind == KeyKind::number && given->is_number()) {
      out.metadata.emplace_back(key, GgufValue::f32(given->get<double>()));
    } else if (row.kind == KeyKind::integer && given->is_number_integer() && *given >= 0 &&
               *given <= UINT32_MAX) {
      out.metadata.emplace_back(key, GgufValue::u32(given->get<int64_t>()));
    } else {
      throw UserError(where, cat("'", row.hf, "' is ", given->dump()),
                      "the file is not a config.json of its family", Exit::bad_data);
    }
    if (std::string_view(row.gguf) == "attention.key_length")
      out.metadata.emplace_back(cat(a.name, ".attention.value_length"), GgufValue::u32(b.head_dim));
  }
  out.metadata.emplace_back(cat(a.name, ".vocab_size"), GgufValue::u32(b.vocab));
  write_gguf_rope(b, where, a, out);
  if (a.write != nullptr) a.write(b, out.metadata);
  return out;
}

}  // namespace nibble
