// The safetensors container: an 8-byte length, a JSON header, tensors without holes. Read strictly
// (every rule of the format is checked before a byte of data is used), written in one pass.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "kernels/tensor.h"
#include "quant/named_tensors.h"
#include "quant/weight.h"

namespace nibble {

struct TensorInfo {
  std::string name;
  std::string dtype_name;      // "BF16"
  std::optional<DType> dtype;  // none for types nibble does not compute with (F8_…)
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // bytes in the file
  int file = 0;                // index into TensorFiles' files
  bool blocks = false;         // a GGUF file keeps it in blocks; `dtype` is what they decode to
  int64_t bytes() const { return end - begin; }
  std::string shape_str() const;  // "(160, 64)"
};

// One file. Throws UserError (exit 65) naming the file, the tensor and both values.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in order of their data
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const InputFile& file() const { return file_; }

 private:
  InputFile file_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

// A container of another kind whose tensors have the names and shapes of a Hugging Face directory.
class TensorContainer {
 public:
  virtual ~TensorContainer() = default;
  virtual const std::string& path() const = 0;
  virtual std::vector<TensorInfo> tensors() const = 0;
  // The values; those of blocks decoded to f32. `name` is one of tensors().
  virtual Tensor read(std::string_view name, Memory& memory, Purpose purpose) const = 0;
  // A matrix (out, in) kept in blocks; nothing when its values are plain.
  virtual std::optional<Weight> blocks(std::string_view name, Memory& memory,
                                       Purpose purpose) const = 0;
};

// All tensors of a directory: model.safetensors, or the shards that model.safetensors.index.json
// lists (index and shards must agree), one file given by name, or a GGUF file.
class TensorFiles {
 public:
  // `place` as resolve_model returns it: a directory, or a GGUF file.
  static TensorFiles open(const std::string& place, const std::string& stem = "model");
  static TensorFiles open_file(const std::string& path);

  const TensorInfo* find(std::string_view name) const;
  const TensorInfo& get(std::string_view name) const;  // missing: UserError with the nearest name
  const std::vector<TensorInfo>& tensors() const { return all_; }
  std::vector<std::string> file_names() const;
  std::vector<std::string> names_below(std::string_view prefix) const;  // those that begin with it
  // Reads through `pread`; dtype must be one nibble computes with and rank at most 4.
  Tensor read(std::string_view name, Memory& memory, Purpose purpose) const;
  // A matrix that a GGUF file keeps in blocks, as it is on file; nothing for any other tensor.
  std::optional<Weight> blocks(std::string_view name, Memory& memory, Purpose purpose) const;
  void read_bytes(const TensorInfo& info, int64_t offset, void* out, int64_t bytes) const;
  std::string where(const TensorInfo& info) const;  // "model.safetensors: lm_head.weight"

 private:
  static TensorFiles of(std::shared_ptr<const TensorContainer> container);

  std::vector<std::shared_ptr<SafetensorsFile>> files_;
  std::shared_ptr<const TensorContainer> container_;  // instead of files_
  std::vector<TensorInfo> all_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

// Writes a file whose tensors are known before their data: begin all, then write in order.
class SafetensorsWriter {
 public:
  struct Entry {
    std::string name;
    DType dtype;
    std::vector<int64_t> shape;
    bool at_most = false;  // one dimension, the length at most: known when it is written
  };
  SafetensorsWriter(const std::string& path, std::vector<Entry> entries,
                    std::map<std::string, std::string> metadata = {{"format", "pt"}});
  void write(const Tensor& tensor);  // the next entry; dtype and shape must be as announced
  void commit();

 private:
  std::string header() const;  // with its length before it, padded to room_ bytes

  OutputFile file_;
  std::vector<Entry> entries_;
  std::map<std::string, std::string> metadata_;
  size_t next_ = 0, room_ = 0;
  bool changed_ = false;  // the header written first is not the last
};
void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       std::map<std::string, std::string> metadata = {{"format", "pt"}});

}  // namespace nibble
