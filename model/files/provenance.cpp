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

void save_provenance(const std::string& adapter_directory, const Provenance& p) {
  Json json = {{"base_model", p.base_model}, {"fingerprint", p.fingerprint}};
  json["prequantized"] = p.prequantized;
  json["quant"] = nullptr;
  if (p.quant)
    json["quant"] = {{"type", name_of(p.quant->format)},
                     {"block_size", p.quant->block},
                     {"double_quant", p.quant->double_quant}};
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
  if (json.contains("quant") && json["quant"].is_object()) {
    const Json& quant = json["quant"];
    QuantSpec spec;
    const auto format = format_named(quant.value("type", std::string("nf4")));
    if (!format)
      throw UserError(path, cat("quant.type ", quant["type"].dump(), " is not known"), "",
                      Exit::bad_data);
    spec.format = *format;
    spec.block = quant.value("block_size", int64_t{64});
    spec.double_quant = quant.value("double_quant", true);
    p.quant = spec;
  }
  return p;
}

}  // namespace nibble
