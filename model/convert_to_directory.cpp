// A GGUF file as a Hugging Face directory. Values stay exactly what they are unless a dtype is
// asked for: blocks become f32, and a vector that the model's 16-bit type cannot hold stays f32.
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "model/convert.h"
#include "model/expected_tensors.h"
#include "model/files/gguf_model.h"
#include "model/files/gguf_tokenizer.h"
#include "model/files/shards.h"

namespace nibble {
namespace {

class DirectoryMaker {
 public:
  DirectoryMaker(const Device& device, const std::string& gguf, const ToDirectory& options)
      : device_(device),
        options_(options),
        model_(std::make_shared<GgufModel>(gguf)),
        files_(TensorFiles::open(gguf)),
        config_(model_->config()) {
    check_tensors(files_, read_blueprint(config_, gguf), false);
    if (options.dtype) config_["dtype"] = torch_name(*options.dtype);
    config_["torch_dtype"] = config_["dtype"];
    config_.erase("dtype");
  }

  ConvertReport run(const std::string& path) {
    const auto files = tokenizer_files(model_->header());  // refused before anything is written
    std::vector<SafetensorsWriter::Entry> entries;
    for (const TensorInfo& info : files_.tensors())
      entries.push_back({info.name, dtype_of(info), info.shape});
    OutputDirectory out(path, options_.replace);
    write_file(out.file("config.json"), dump_json(config_, 2) + "\n");
    write_generation_config(out);
    for (const auto& [name, bytes] : files) write_file(out.file(name), bytes);
    write_shards(out.folder(), entries, options_.shard_bytes,
                 [&](size_t i) { return cast(read(entries[i].name), entries[i].dtype); });
    out.commit();
    report_.type = config_["torch_dtype"].get<std::string>();
    report_.tensors = static_cast<int64_t>(entries.size());
    for (const SafetensorsWriter::Entry& e : entries) {
      int64_t n = size_of(e.dtype);
      for (const int64_t d : e.shape) n *= d;
      report_.bytes += n;
    }
    return std::move(report_);
  }

 private:
  Tensor read(const std::string& name) const {
    return files_.read(name, device_.memory(), Purpose::staging);
  }

  Tensor cast(const Tensor& x, DType to) const {
    if (x.dtype() == to) return x;
    Tensor y = Tensor::empty(device_.memory(), x.shape(), to, Purpose::staging);
    device_.kernels().cast(device_.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), to,
                           y.raw(), y.pitch());
    return y;
  }

  DType dtype_of(const TensorInfo& info) {
    if (options_.dtype) return *options_.dtype;
    const std::string name = config_["torch_dtype"].get<std::string>();
    const DType wanted = name == "bfloat16"  ? DType::bf16
                         : name == "float16" ? DType::f16
                                             : DType::f32;
    if (info.dtype_name != "F32" || wanted == DType::f32) return *info.dtype;
    if (info.shape.size() > 1) return DType::f32;
    const Tensor x = read(info.name), back = cast(cast(x, wanted), DType::f32);
    if (std::memcmp(x.raw(), back.raw(), static_cast<size_t>(x.bytes())) == 0) return wanted;
    report_.notes.push_back(
        cat(info.name, " holds values that ", name, " does not: kept as float32"));
    return DType::f32;
  }

  void write_generation_config(const OutputDirectory& out) const {
    Json json = Json::object();
    for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"})
      if (config_.contains(key)) json[key] = config_[key];
    if (!json.empty()) write_file(out.file("generation_config.json"), dump_json(json, 2) + "\n");
  }

  const Device& device_;
  ToDirectory options_;
  std::shared_ptr<const GgufModel> model_;
  TensorFiles files_;
  Json config_;
  ConvertReport report_;
};

}  // namespace

ConvertReport convert_to_directory(const Device& device, const std::string& gguf,
                                   const std::string& out, const ToDirectory& options) {
  return DirectoryMaker(device, gguf, options).run(out);
}

}  // namespace nibble
