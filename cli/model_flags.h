// The flags of every command that reads a model: which one, with which adapter, in which numbers.
#pragma once

#include <string>
#include <vector>

#include "cli/command_line.h"
#include "model/model.h"

namespace nibble {

struct ModelFlags {
  std::string model;
  std::string adapter;
  std::string quant = "none", quant_modules, recipe;
  std::optional<double> threshold;
  bool no_double = false;
  int64_t block_size = 64;
  std::string dtype = "bf16";
  int64_t threads = 0;

  void declare(CommandLine& line);
  void declare_weights(Settings& flags);  // its part without MODEL and --adapter
  LoadOptions load_options() const;
  Device device() const;

  // What MODEL and the other flags come to. An adapter's folder as MODEL stands for the base that
  // it was trained on, quantized as it was then unless --quant says otherwise, with itself on top.
  struct Resolved {
    std::string directory;  // of the base, as resolve_model returns it
    std::string adapter;    // folder, or ""
    LoadOptions options;
    // Whose chat template counts: the adapter's, when it was trained with one of its own.
    std::string template_folder() const;
  };
  Resolved resolve() const;
  // Loads the model and, in slot 0, the adapter.
  Model load(const Device& device, bool encoder = false) const;  // encoder: one will do
};

// Whether a folder holds an adapter and no model.
bool is_adapter_folder(const std::string& path);

// Token ids from a JSON file: a list of lists of ids, each inside the vocabulary.
std::vector<std::vector<int32_t>> read_id_lists(const std::string& path, int64_t vocab);

}  // namespace nibble
