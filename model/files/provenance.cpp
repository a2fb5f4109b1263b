#include "model/files/provenance.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "model/files/safetensors.h"

namespace nibble {

std::string fingerprint_of(const std::string& directory) {
  std::string text;
  const TensorFiles files = TensorFiles::open(directory);
  for (const TensorInfo& info : files.tensors())
    text += cat(info.name, " ", info.dtype_name, " ", info.shape_str(), " ", info.begin, "\n");
  return hash128_hex(std::as_bytes(std::span(text.data(), text.size())));
}

namespace {

Json spec_json(const QuantSpec& spec) {
  Json json = {{"type", name_of(spec.format)},
               {"block_size", spec.block},
               {"double_quant", spec.double_quant}};
  if (spec.outlier_threshold) json["threshold"] = *spec.outlier_threshold;
  return json;
}

QuantSpec read_spec(const Json& json, const std::string& where) {
  QuantSpec spec;
  const auto format = format_named(json.value("type", std::string("nf4")));
  if (!format)
    throw UserError(where, cat("quant.type ", json["type"].dump(), " is not known"),
                    cat("formats are ", join(format_names(), ", ")), Exit::bad_data);
  spec.format = *format;
  spec.block = json.value("block_size", int64_t{64});
  spec.double_quant = json.value("double_quant", true);
  if (json.contains("threshold")) spec.outlier_threshold = json["threshold"].get<double>();
  return spec;
}

}  // namespace

Json plan_json(const QuantPlan& plan) {
  if (!plan && !plan.threshold) return nullptr;
  Json json = plan.linears ? spec_json(*plan.linears) : Json{{"type", "none"}};
  if (plan.threshold) json["stored_threshold"] = *plan.threshold;
  if (plan.skip) json["skip"] = *plan.skip;
  for (const QuantRule& rule : plan.modules) {
    Json one = {{"match", rule.match}};
    one.update(rule.spec ? spec_json(*rule.spec) : Json{{"type", "none"}});
    json["modules"].push_back(one);
  }
  return json;
}

QuantPlan read_plan(const Json& json, const std::string& where) {
  QuantPlan plan;
  if (!json.is_object()) return plan;
  try {
    const auto spec = [&](const Json& one) -> std::optional<QuantSpec> {
      if (one.value("type", std::string("nf4")) == "none") return std::nullopt;
      return read_spec(one, where);
    };
    plan.linears = spec(json);
    if (json.contains("stored_threshold")) plan.threshold = json["stored_threshold"].get<double>();
    if (json.contains("skip")) plan.skip = json["skip"].get<std::vector<std::string>>();
    for (const Json& one : json.value("modules", Json::array()))
      plan.modules.push_back({one.at("match").get<std::string>(), spec(one), {where}});
  } catch (const Json::exception& e) {
    throw UserError(where, cat("its quantization is not understood: ", e.what()),
                    "it is written by nibble train; train again, or leave the file out",
                    Exit::bad_data);
  }
  return plan;
}

void save_provenance(const std::string& adapter_directory, const Provenance& p) {
  Json json = {{"base_model", p.base_model}, {"fingerprint", p.fingerprint}};
  json["prequantized"] = p.prequantized;
  json["quant"] = plan_json(p.quant);
  write_file(join_path(adapter_directory, kProvenanceFile), dump_json(json, 2) + "\n");
}

std::optional<Provenance> read_provenance(const std::string& adapter_directory) {
  const std::string path = join_path(adapter_directory, kProvenanceFile);
  if (!exists(path)) return std::nullopt;
  const Json json = read_json(path);
  Provenance p;
  p.base_model = json.value("base_model", std::string());
  p.fingerprint = json.value("fingerprint", std::string());
  p.prequantized = json.value("prequantized", false);
  p.quant = read_plan(json.value("quant", Json()), path);
  return p;
}

}  // namespace nibble
