// Merging an adapter into its base, one tensor at a time, so that memory does not grow with the
// model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/survival.h"

namespace nibble {

enum class MergeMode : uint8_t {
  trained,   // decoded 4-bit weights + delta: what the trained model computed
  original,  // 16-bit weights + delta
  requant,   // the same, quantized again in the formats that were trained on
};

struct MergeOptions {
  std::optional<MergeMode> mode;  // none: trained when the adapter was trained on a 4-bit base
  std::optional<DType> dtype;     // none: the base's
  // requant: the least share of all deltas, ⟨r, Δ⟩ / ⟨Δ, Δ⟩ over every layer, that the fresh codes
  // must realise; below it nothing is written.
  double min_survival = 0.5;
};

struct MergeReport {
  MergeMode mode = MergeMode::original;
  DType dtype = DType::bf16;
  int64_t tensors = 0, merged = 0, bytes = 0;
  std::vector<Survival> survival;  // requant: of every layer with a delta
  double survived = 1;             // of all of them together
  std::vector<std::string> notes;
};

// Writes an HF directory: the base's config keys in their order (quantization_config dropped), its
// partition into shards, its tokenizer files byte for byte. `out` must not exist. requant writes
// quantized weights, as quantize_model does; too little survival is a UserError (exit 1) that names
// the worst layers.
MergeReport merge(const Device& device, const std::string& base_directory,
                  const std::string& adapter_directory, const std::string& out,
                  const MergeOptions& options);

}  // namespace nibble
