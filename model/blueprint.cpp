#include "model/blueprint.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "model/families/families.h"

namespace nibble {
namespace {

using Reader = void (*)(ConfigReader&, Blueprint&);
const Reader kReaders[] = {
#define FAMILY(model_type, read, members, notes) read,
#include "model/families.def"
#undef FAMILY
};

DType read_dtype(ConfigReader& config) {
  std::string name = config.text("dtype", config.text("torch_dtype", "float32"));
  if (name == "bfloat16") return DType::bf16;
  if (name == "float16") return DType::f16;
  if (name == "float32") return DType::f32;
  config.refuse("dtype", cat("is '", name, "'"), "bfloat16, float16 and float32 are supported");
}

// The closest name by spelling, or the one that begins alike the longest: qwen3_moe → qwen3.
std::string nearest_family(const std::string& type) {
  const std::vector<std::string> names = supported_families();
  std::string best = nearest(type, names);
  size_t most = 2;
  for (const std::string& name : names) {
    size_t same = 0;
    while (same < std::min(name.size(), type.size()) && name[same] == type[same]) ++same;
    if (same == name.size() || (best.empty() && same > most)) best = name;
    most = std::max(most, same);
  }
  return best;
}

// What keeps a whole class of models out, said before their names are.
std::string reason(const ConfigReader& config) {
  for (const char* key :
       {"num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"})
    if (config.has(key)) return cat(" (", key, ": experts are not supported yet)");
  for (const char* key : {"vision_config", "text_config", "audio_config"})
    if (config.has(key)) return cat(" (", key, ": images and sound are not supported yet)");
  return "";
}

}  // namespace

std::string Blueprint::layer_path(int64_t index, const std::string& part) const {
  std::string path = names.layer;
  path.replace(path.find("%d"), 2, std::to_string(index));
  return path + part;
}

std::vector<LinearSpec> layer_linears(const Blueprint& b) {
  const int64_t q = b.heads * b.head_dim, kv = b.kv_heads * b.head_dim;
  std::vector<LinearSpec> all;
  const auto add = [&](LinearRole role, int64_t out, int64_t in, bool bias) {
    all.push_back({role, b.names[role], out, in, bias});
  };
  if (b.qkv == QkvLayout::separate) {
    add(LinearRole::q, q, b.hidden, b.attention_bias);
    add(LinearRole::k, kv, b.hidden, b.attention_bias);
    add(LinearRole::v, kv, b.hidden, b.attention_bias);
  } else {
    add(LinearRole::qkv, q + 2 * kv, b.hidden, b.attention_bias);
  }
  add(LinearRole::o, b.hidden, q, b.attention_out_bias);
  if (b.mlp == MlpKind::gated_fused) {
    add(LinearRole::gate_up, 2 * b.intermediate, b.hidden, b.mlp_bias);
  } else {
    if (b.mlp == MlpKind::gated) add(LinearRole::gate, b.intermediate, b.hidden, b.mlp_bias);
    add(LinearRole::up, b.intermediate, b.hidden, b.mlp_bias);
  }
  add(LinearRole::down, b.hidden, b.intermediate, b.mlp_bias);
  return all;
}

std::vector<NormSpec> layer_norms(const Blueprint& b) {
  std::vector<NormSpec> all;
  for (size_t i = 0; i < kNormRoles; ++i) {
    const auto role = static_cast<NormRole>(i);
    const bool of_heads = role == NormRole::q || role == NormRole::k;
    if (b.names[role].empty() || (of_heads && b.qk_norm == QkNorm::none)) continue;
    NormSpec spec;
    spec.role = role;
    spec.part = b.names[role];
    spec.width = b.hidden;
    spec.layer_norm = b.norm == NormKind::layer;
    spec.bias = b.norm_bias;
    spec.eps = b.norm_eps;
    spec.offset = b.norm_offset;
    if (of_heads) {
      const int64_t heads = role == NormRole::q ? b.heads : b.kv_heads;
      spec.bias = b.qk_norm_bias;
      spec.width = b.qk_norm == QkNorm::row ? heads * b.head_dim : b.head_dim;
      spec.groups = b.qk_norm == QkNorm::row ? 1 : heads;
      spec.own = b.qk_norm == QkNorm::own_head;
    }
    all.push_back(std::move(spec));
  }
  return all;
}

int64_t Blueprint::parameters() const {
  int64_t one = 0;
  for (const LinearSpec& l : layer_linears(*this)) one += l.out * l.in + (l.bias ? l.out : 0);
  for (const NormSpec& n : layer_norms(*this))
    one += n.width * (n.own ? n.groups : 1) * (n.bias ? 2 : 1);
  const int64_t norm_width = hidden * (norm_bias ? 2 : 1);
  int64_t all = layers * one + vocab * hidden;
  if (!names.final_norm.empty()) all += norm_width;
  if (!names.embedding_norm.empty()) all += norm_width;
  if (positions == Positions::learned) all += max_positions * hidden;
  all += token_types * hidden;
  if (!names.pooler.empty()) all += hidden * hidden + hidden;
  if (!encoder && !tied) all += vocab * hidden;
  if (head_bias) all += vocab;
  return all;
}

const std::vector<Family>& families() {
  static const std::vector<Family> all = {
#define FAMILY(model_type, read, members, notes) {#model_type, members, notes},
#include "model/families.def"
#undef FAMILY
  };
  return all;
}

std::vector<std::string> supported_families() {
  std::vector<std::string> names;
  for (const Family& family : families()) names.emplace_back(family.model_type);
  return names;
}

Blueprint read_blueprint(const Json& json, const std::string& where,
                         std::vector<UserError>* unknown) {
  ConfigReader config(json, where);
  const std::string type = config.text("model_type", "");
  for (size_t i = 0; i < families().size(); ++i) {
    if (type != families()[i].model_type) continue;
    Blueprint b;
    b.family = type;
    b.file_dtype = read_dtype(config);
    b.bos = config.token("bos_token_id");
    b.pad = config.token("pad_token_id");
    b.eos = config.tokens("eos_token_id");
    config.understood("quantization_config");  // its reader is the loader
    kReaders[i](config, b);
    if (unknown != nullptr)
      *unknown = config.left_over();
    else
      config.finish();
    return b;
  }
  const std::string close = nearest_family(type);
  throw UserError(where, cat("model_type '", type, "' is not supported yet", reason(config)),
                  close.empty() ? cat("supported: ", join(supported_families(), ", "))
                                : cat("the nearest supported family is '", close, "'"),
                  Exit::bad_data);
}

}  // namespace nibble
