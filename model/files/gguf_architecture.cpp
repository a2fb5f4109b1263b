// Names by pattern: a row's "%d" stands for a layer, what follows the row is ".weight" or ".bias".
#include "model/files/gguf_architecture.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"

namespace nibble {
namespace {

// The layer (or -1 for a pattern without one) and suffix of `name` by a pattern; false: no match.
bool matches(std::string_view pattern, std::string_view name, std::string& layer,
             std::string_view& suffix) {
  const size_t hole = pattern.find("%d");
  if (hole == std::string_view::npos) {
    if (!starts_with(name, pattern)) return false;
    suffix = name.substr(pattern.size());
  } else {
    const std::string_view before = pattern.substr(0, hole), after = pattern.substr(hole + 2);
    if (!starts_with(name, before)) return false;
    size_t end = hole;
    while (end < name.size() && name[end] >= '0' && name[end] <= '9') ++end;
    if (end == hole || end - hole > 6 || !starts_with(name.substr(end), after)) return false;
    layer = std::string(name.substr(hole, end - hole));
    suffix = name.substr(end + after.size());
  }
  return suffix == ".weight" || suffix == ".bias";
}

NamedRow translate(std::span<const GgufTensorRow> rows, std::string_view name, bool to_hf) {
  for (const GgufTensorRow& row : rows) {
    std::string layer;
    std::string_view suffix;
    if (!matches(to_hf ? row.gguf : row.hf, name, layer, suffix)) continue;
    NamedRow found;
    found.name = to_hf ? row.hf : row.gguf;
    if (const size_t hole = found.name.find("%d"); hole != std::string::npos)
      found.name.replace(hole, 2, layer);
    found.name += suffix;
    found.order = row.order;
    found.norm = ends_with(row.gguf, "norm") && suffix == ".weight";
    return found;
  }
  return {};
}

}  // namespace

const GgufArchitecture& architecture_of(const Gguf& file) {
  const auto name = file.text("general.architecture");
  if (!name)
    throw UserError(file.path, "has no key 'general.architecture'",
                    "the file holds no model, or is damaged", Exit::bad_data);
  std::vector<std::string> known;
  for (const GgufArchitecture& a : gguf_architectures()) {
    if (*name == a.name) return a;
    known.emplace_back(a.name);
  }
  file.refuse("general.architecture", cat("is '", *name, "', which is not supported"),
              cat("supported: ", join(known, ", ")));
}

const GgufArchitecture* architecture_for(std::string_view model_type) {
  for (const GgufArchitecture& a : gguf_architectures())
    if (model_type == a.model_type) return &a;
  return model_type == "mistral" ? architecture_for("llama") : nullptr;
}

NamedRow hf_name(const GgufArchitecture& architecture, std::string_view gguf) {
  return translate(architecture.tensors, gguf, true);
}

NamedRow gguf_name(const GgufArchitecture& architecture, std::string_view hf) {
  return translate(architecture.tensors, hf, false);
}

HeadSizes head_sizes(const Json& config) {
  const auto either = [&](const char* a, const char* b, int64_t otherwise) -> int64_t {
    for (const char* key : {a, b})
      if (config.contains(key) && config[key].is_number_integer()) return config[key];
    return otherwise;
  };
  HeadSizes s;
  s.heads = either("num_attention_heads", "n_head", 1);
  s.kv_heads = either("num_key_value_heads", "num_kv_heads", s.heads);
  if (config.value("multi_query", false) && !config.value("new_decoder_architecture", false))
    s.kv_heads = 1;
  const int64_t hidden = either("hidden_size", "n_embd", 0);
  s.head_dim = either("head_dim", "head_dim", s.heads > 0 ? hidden / s.heads : 0);
  return s;
}

int64_t gguf_row(RowOrder order, const HeadSizes& sizes, int64_t rows, int64_t r) {
  if (order == RowOrder::pairs_q || order == RowOrder::pairs_k) {
    const int64_t heads = order == RowOrder::pairs_q ? sizes.heads : sizes.kv_heads;
    const int64_t width = rows / heads, half = width / 2, d = r % width;
    return r - d + 2 * (d % half) + d / half;
  }
  if (order == RowOrder::stacked) {
    const int64_t dim = sizes.head_dim, group = sizes.heads / sizes.kv_heads;
    const int64_t g = r / ((group + 2) * dim), j = r / dim % (group + 2), d = r % dim;
    if (j < group) return (g * group + j) * dim + d;
    return (sizes.heads + (j - group) * sizes.kv_heads + g) * dim + d;
  }
  return r;
}

}  // namespace nibble
