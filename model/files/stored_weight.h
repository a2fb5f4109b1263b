// Quantized matrices of a directory, as transformers and bitsandbytes lie them out: which tensors
// of the files make one weight.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "model/files/safetensors.h"

namespace nibble {

enum class Stored : uint8_t { plain, four_bit, eight_bit };

// `weight`: "model.layers.0.mlp.up_proj.weight" as the files spell it.
Stored stored_as(const TensorFiles& files, const TensorInfo& weight);
// All tensors that make the weight, itself first.
std::vector<std::string> parts_of(const TensorFiles& files, const TensorInfo& weight);
// Checked as quant_state.h and int8_state.h say; out and in of the model's config, -1: the file's.
Weight read_stored(const Device& device, const TensorFiles& files, const TensorInfo& weight,
                   int64_t out, int64_t in, std::optional<double> threshold, Purpose purpose);
// The tensors to write for a quantized weight that is in flat order, in bitsandbytes' order, with
// full names. `storage`: as write_quant_state takes it.
NamedTensors stored_tensors(const Device& device, const std::string& name, const Weight& weight,
                            std::optional<DType> storage = {});

}  // namespace nibble
