#include "model/blueprint.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "model/families/families.h"

namespace nibble {
namespace {

struct Row {
  const char* model_type;
  void (*read)(ConfigReader&, Blueprint&);
};
const Row kFamilies[] = {
#define FAMILY(model_type, read) {#model_type, read},
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

}  // namespace

std::string Blueprint::layer_path(int64_t layer, const std::string& part) const {
  std::string path = names.layer;
  path.replace(path.find("%d"), 2, std::to_string(layer));
  return path + part;
}

int64_t Blueprint::parameters() const {
  const int64_t q = heads * head_dim, kv = kv_heads * head_dim;
  int64_t layer = hidden * (q + 2 * kv) + q * hidden + 3 * hidden * intermediate + 2 * hidden;
  if (attention_bias) layer += q + 2 * kv;
  if (attention_out_bias) layer += hidden;
  if (mlp_bias) layer += 2 * intermediate + hidden;
  return layers * layer + vocab * hidden * (tied ? 1 : 2) + hidden;
}

std::vector<std::string> supported_families() {
  std::vector<std::string> names;
  for (const Row& row : kFamilies) names.emplace_back(row.model_type);
  return names;
}

Blueprint read_blueprint(const Json& json, const std::string& where) {
  ConfigReader config(json, where);
  const std::string type = config.text("model_type", "");
  for (const Row& row : kFamilies) {
    if (type != row.model_type) continue;
    Blueprint b;
    b.family = type;
    b.file_dtype = read_dtype(config);
    b.bos = config.token("bos_token_id");
    b.pad = config.token("pad_token_id");
    b.eos = config.tokens("eos_token_id");
    config.understood("quantization_config");  // its reader is the loader
    row.read(config, b);
    config.finish();
    return b;
  }
  const std::string close = nearest(type, supported_families());
  throw UserError(where, cat("model_type '", type, "' is not supported yet"),
                  close.empty() ? cat("supported: ", join(supported_families(), ", "))
                                : cat("the nearest supported family is '", close, "'"),
                  Exit::bad_data);
}

}  // namespace nibble
