// Models from one container to another, tensor by tensor, so that memory does not grow with the
// model: Hugging Face directories to GGUF files and back.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "model/files/gguf.h"

namespace nibble {

struct ConvertReport {
  std::string type;  // of most matrices: "Q8_0", "bfloat16"
  int64_t tensors = 0, bytes = 0;
  std::vector<std::string> notes;  // what is not as asked for, and why
};

struct ToGguf {
  const GgufTensorType* type = nullptr;  // of matrices; null: as they are
  bool tokenizer = true;
};
// `source`: as resolve_model returns it. Vectors become F32; blocks are not made of blocks. What
// GGUF cannot say of a model is refused by name.
ConvertReport convert_to_gguf(const Device& device, const std::string& source,
                              const std::string& out, const ToGguf& options);

struct ToDirectory {
  std::optional<DType> dtype;  // none: exact — blocks become f32, what is plain stays as it is
  int64_t shard_bytes = int64_t{5} << 30;
  bool replace = false;
};
ConvertReport convert_to_directory(const Device& device, const std::string& gguf,
                                   const std::string& out, const ToDirectory& options);

}  // namespace nibble
