// LoRA adapters on disk as PEFT reads and writes them: adapter_config.json and
// adapter_model.safetensors with names below "base_model.model.".
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "kernels/device.h"

namespace nibble {

class Decoder;

struct AdapterConfig {
  int64_t r = 8;
  double alpha = 8;
  double dropout = 0;
  bool rslora = false;  // scale alpha / sqrt(r) instead of alpha / r
  std::string base_model;
  std::vector<std::string> target_modules;  // suffixes; or
  std::string target_regex;                 // a regex on the whole path; or
  bool all_linear = false;                  // every linear but the output head
  // Rows that train for themselves: ids by the name of their table, "" for PEFT's plain list, which
  // means the embedding. Where the head is tied to it, the head has them too.
  std::map<std::string, std::vector<int64_t>> token_indices;
  std::vector<std::string> modules_to_save;  // tables that train whole: the embedding, the head
  double scale() const;
};

// What the caller asked for matched against module paths. Throws UserError when a pattern matches
// nothing, naming the modules there are.
std::vector<std::string> match_targets(const AdapterConfig& config,
                                       const std::vector<std::string>& linear_paths,
                                       const std::string& head_path);

// Refuses by name what nibble does not do yet (DoRA, bias, rank_pattern, …).
AdapterConfig read_adapter_config(const std::string& directory);

// Reads A and B of every target, and the adapter's own rows of embedding and head, into adapter
// slot `slot` of the decoder (`trains`: as masters). A model whose embedding has too few rows for
// the adapter is refused: see adapter_vocab in model/files/peft_tokens.h. Shapes are checked
// against the decoder; unknown tensors are refused by name.
AdapterConfig load_adapter(const std::string& directory, Decoder& decoder, int slot, bool trains,
                           const Device& device);
// Writes both files into `directory` (which exists). dtype of the file: f32.
void save_adapter(const std::string& directory, const AdapterConfig& config, const Decoder& decoder,
                  int slot);

}  // namespace nibble
