// The weights of a Hugging Face directory as one file or several with their index.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/files/safetensors.h"

namespace nibble {

// Writes tensors over as many shards as the size asks for; `value` makes one at a time, in order.
void write_shards(const std::string& folder, const std::vector<SafetensorsWriter::Entry>& entries,
                  int64_t shard_bytes, const std::function<Tensor(size_t)>& value);

}  // namespace nibble
