// A directory quantized on its way from disk to disk, one matrix at a time, as transformers and
// bitsandbytes lay it out; and back.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "model/blueprint.h"
#include "model/files/bnb_config.h"
#include "model/files/stored_weight.h"
#include "quant/measure.h"
#include "quant/plan.h"

namespace nibble {

struct QuantizedMatrix {
  std::string name;  // of the weight, as the files spell it
  QuantSpec spec;
  int64_t out = 0, in = 0;
  WeightReport report;
};

struct QuantizeOptions {
  QuantPlan plan;
  DType storage = DType::u8;  // that packed codes are saved under
  std::optional<DType> back;  // decode instead: every float tensor in this dtype
  bool measure = true;        // compare with the values
  bool replace = false;
  std::function<void(int64_t done, int64_t all, const std::string& name)> progress;  // bytes read
};

struct QuantizeReport {
  std::vector<QuantizedMatrix> matrices;  // quantized ones of the output, in its order
  int64_t tensors = 0, bytes_in = 0, bytes_out = 0;
  int64_t decoded = 0;             // matrices that are no longer quantized
  std::vector<std::string> notes;  // what another reader would stumble over
};

// The input's partition into shards, its config but for quantization_config and dtype, its small
// files. Matrices that are quantized already stay as they are, byte for byte, where the plan asks
// for the same format; another format is refused. Memory: the largest matrix, its codes and a few
// MiB. NaN and Inf: UserError naming the element.
QuantizeReport quantize_model(const Device& device, const std::string& directory,
                              const std::string& out, const QuantizeOptions& options);

// The quantized matrices of a directory; measured against another one's where that is named.
std::vector<QuantizedMatrix> quantized_matrices(const Device& device, const std::string& directory,
                                                const std::string& against);

// What the config of a quantized directory says: `formats` holds every module of module_paths that
// has a weight of its own, none for a plain one. Notes say what transformers does not read.
using ModuleFormats = std::vector<std::pair<std::string, std::optional<QuantSpec>>>;
BnbConfig config_of(const ModuleFormats& formats, const Blueprint& blueprint, DType storage,
                    std::vector<std::string>& notes);
// The tensors of a matrix to come, for a writer to announce.
std::vector<SafetensorsWriter::Entry> coded_entries(const std::string& name, const QuantSpec& spec,
                                                    int64_t out, int64_t in, DType storage);

}  // namespace nibble
