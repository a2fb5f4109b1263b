// State moves as named tensors: what an object is made of, in the order files keep. Containers
// (safetensors, checkpoints) are known only to model/files/ and trainer/.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kernels/tensor.h"

namespace nibble {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

}  // namespace nibble
