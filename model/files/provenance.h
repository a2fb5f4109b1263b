// Which base an adapter was trained on and how that base was quantized: written beside the adapter,
// so that a merge cannot pick the wrong weights in silence.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "quant/plan.h"

namespace nibble {

struct Provenance {
  std::string base_model;     // as the recipe named it
  QuantPlan quant;            // how it was quantized for training
  bool prequantized = false;  // the base's own files are quantized
  std::string fingerprint;    // of config and weight headers, see fingerprint_of
};

constexpr char kProvenanceFile[] = "base_provenance.json";

// XXH3-128 over the names, sizes and headers of a directory's weight files: cheap, and different
// for another model, another quantization or another dtype (not for other values of the same
// shapes).
std::string fingerprint_of(const std::string& directory);

// A plan as JSON and back: {"type", "block_size", "double_quant", …} and, where there are any,
// "modules" and "skip". `where` is the place to name.
Json plan_json(const QuantPlan& plan);
QuantPlan read_plan(const Json& json, const std::string& where);

void save_provenance(const std::string& adapter_directory, const Provenance& provenance);
std::optional<Provenance> read_provenance(const std::string& adapter_directory);

}  // namespace nibble
