// A GGUF file seen as the Hugging Face directory that it stands for: config.json's keys, tensors
// under their usual names, shapes and row orders, blocks as they are on file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/files/gguf_architecture.h"
#include "model/files/safetensors.h"

namespace nibble {

// Whether a path names a GGUF file: by its ending, or by its first four bytes.
bool is_gguf(const std::string& path);

class GgufModel : public TensorContainer {
 public:
  // Refuses by name what nibble could not compute: the architecture, a type, a tensor without a
  // place (UserError, exit 65).
  explicit GgufModel(const std::string& path);

  const Gguf& header() const { return header_; }
  const GgufArchitecture& architecture() const { return *architecture_; }
  Json config() const;
  bool has_blocks() const;  // some matrix is quantized

  const std::string& path() const override { return header_.path; }
  std::vector<TensorInfo> tensors() const override { return infos_; }
  Tensor read(std::string_view name, Memory& memory, Purpose purpose) const override;
  std::optional<Weight> blocks(std::string_view name, Memory& memory,
                               Purpose purpose) const override;

 private:
  struct Place {
    const GgufTensor* tensor = nullptr;
    RowOrder order = RowOrder::same;
    double offset = 0;  // added to every value on file
  };
  void add(const GgufTensor& tensor);
  const Place& place(std::string_view name) const;
  // (rows, bytes of a row) with rows in Hugging Face's order, but for transposed ones.
  Tensor rows_of(const Place& place, Memory& memory, Purpose purpose) const;
  std::vector<float> factors(const GgufTensor& tensor) const;

  InputFile file_;
  Gguf header_;
  const GgufArchitecture* architecture_;
  HeadSizes sizes_;
  std::vector<TensorInfo> infos_;
  std::vector<std::pair<std::string, Place>> places_;  // sorted by name
};

}  // namespace nibble
