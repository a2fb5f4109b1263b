// Metadata ↔ config.json by the rows of an architecture, and what is special about each side:
// floats that went through fp32, sizes that follow from others, token ids, ties.
#include <charconv>
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
      config[row.hf] = decimal(*file_.number(key));
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

  // The shortest decimal that is this float: 1e-05, not 9.9999997e-06.
  double decimal(double x) const {
    char text[64];
    const auto end = std::to_chars(text, text + sizeof text, static_cast<float>(x));
    double out = x;
    std::from_chars(text, end.ptr, out);
    return static_cast<double>(static_cast<float>(x)) == x ? out : x;
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

GgufConfig gguf_config(const Json& config, const std::string& where, const GgufArchitecture& a) {
  GgufConfig out;
  const auto refuse = [&](const char* key, std::string what) {
    throw UserError(where, cat("'", key, "' ", what), "the file is not a config.json of its family",
                    Exit::bad_data);
  };
  for (const GgufKeyRow& row : a.keys) {
    const auto given = config.find(row.hf);
    const bool there = given != config.end() && !given->is_null();
    const std::string key = cat(a.name, ".", row.gguf);
    if (!there) {
      if (row.required) refuse(row.hf, "is missing");
      continue;
    }
    if (row.kind == KeyKind::boolean) {
      if (!given->is_boolean()) refuse(row.hf, cat("is ", given->dump()));
      out.metadata.emplace_back(key, GgufValue::of(given->get<bool>()));
    } else if (row.kind == KeyKind::number) {
      if (!given->is_number()) refuse(row.hf, cat("is ", given->dump()));
      out.metadata.emplace_back(key, GgufValue::f32(given->get<double>()));
    } else {
      if (!given->is_number_integer() || *given < 0 || *given > UINT32_MAX)
        refuse(row.hf, cat("is ", given->dump()));
      out.metadata.emplace_back(key, GgufValue::u32(given->get<int64_t>()));
      if (std::string_view(row.gguf) == "attention.key_length")
        out.metadata.emplace_back(cat(a.name, ".attention.value_length"),
                                  out.metadata.back().second);
    }
  }
  if (config.contains("vocab_size") && config["vocab_size"].is_number_integer())
    out.metadata.emplace_back(cat(a.name, ".vocab_size"),
                              GgufValue::u32(config["vocab_size"].get<int64_t>()));
  write_gguf_rope(config, where, a, head_sizes(config), out);
  if (a.write != nullptr) a.write(config, out.metadata);
  return out;
}

}  // namespace nibble
