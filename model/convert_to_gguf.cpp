// A model as a GGUF file: what its blueprint expects, under llama.cpp's names and in its row order.
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "model/convert.h"
#include "model/expected_tensors.h"
#include "model/files/gguf_architecture.h"
#include "model/files/gguf_tokenizer.h"
#include "model/files/hf_directory.h"
#include "model/transposed.h"

namespace nibble {
namespace {

// general.file_type, what tools print.
int file_type_of(const GgufTensorType& type) {
  const std::pair<const char*, int> kTypes[] = {
      {"F32", 0},  {"F16", 1},  {"BF16", 32}, {"Q4_0", 2},  {"Q4_1", 3}, {"Q5_0", 8},
      {"Q5_1", 9}, {"Q8_0", 7}, {"Q4_K", 14}, {"Q5_K", 16}, {"Q6_K", 18}};
  for (const auto& [name, number] : kTypes)
    if (std::string_view(name) == type.name) return number;
  return 1024;  // "guessed"
}

const GgufTensorType* plain_type(DType dtype) {
  return find_gguf_type(dtype == DType::bf16 ? "BF16" : dtype == DType::f16 ? "F16" : "F32");
}

struct Item {
  std::string name;  // on file
  RowOrder order = RowOrder::same;
  double offset = 0;
};

class GgufMaker {
 public:
  GgufMaker(const Device& device, const std::string& source, const ToGguf& options)
      : device_(device),
        source_(source),
        options_(options),
        config_(read_model_config(source, &where_)),
        blueprint_(read_blueprint(config_, where_)),
        files_(TensorFiles::open(source)) {
    architecture_ = architecture_for(blueprint_.family);
    if (architecture_ == nullptr) {
      std::vector<std::string> known;
      for (const GgufArchitecture& a : gguf_architectures()) known.emplace_back(a.model_type);
      throw UserError(where_,
                      cat("models of type '", blueprint_.family, "' have no GGUF form here"),
                      cat("those that have: ", join(known, ", ")), Exit::bad_data);
    }
    if (config_.contains("quantization_config") && !config_["quantization_config"].is_null())
      throw UserError(where_, "the weights are 4-bit already; their codes have no place in GGUF",
                      "convert the 16-bit model with --type", Exit::bad_data);
    refuse_windows();
    check_tensors(files_, blueprint_, false);
    sizes_ = {blueprint_.heads, blueprint_.kv_heads, blueprint_.head_dim};
    plan();
  }

  ConvertReport run(const std::string& out) {
    GgufConfig config = gguf_config(config_, blueprint_, where_, *architecture_);
    GgufMetadata metadata = {{"general.architecture", GgufValue::of(architecture_->name)},
                             {"general.type", GgufValue::of(std::string("model"))},
                             {"general.name", GgufValue::of(base_name(source_))},
                             {"general.file_type", GgufValue::u32(file_type_of(*kind_))},
                             {"general.quantization_version", GgufValue::u32(2)}};
    metadata.insert(metadata.end(), config.metadata.begin(), config.metadata.end());
    if (options_.tokenizer) {
      add_gguf_tokenizer(source_, config_, blueprint_.vocab, metadata);
    } else {
      add_no_tokenizer(config_, metadata);
    }
    for (const auto& [name, values] : config.factors)
      entries_.push_back({name, find_gguf_type("F32"), {static_cast<int64_t>(values.size())}});
    GgufWriter writer(out, metadata, entries_);
    for (size_t i = 0; i < items_.size(); ++i) write(items_[i], entries_[i], writer);
    for (const auto& [name, values] : config.factors)
      writer.write(values.data(), static_cast<int64_t>(values.size() * sizeof(float)));
    writer.commit();
    report_.tensors = static_cast<int64_t>(entries_.size());
    report_.bytes = writer.bytes();
    report_.type = kind_->name;
    return std::move(report_);
  }

 private:
  // llama.cpp knows windows of some architectures only.
  void refuse_windows() const {
    if (std::string_view(architecture_->name) != "llama") return;
    for (const LayerBlueprint& layer : blueprint_.layer)
      if (layer.window > 0 && layer.window < blueprint_.max_positions)
        throw UserError(where_, cat("a window of ", layer.window, " tokens has no place in GGUF"),
                        "set sliding_window to null if every prompt is shorter", Exit::bad_data);
  }

  void plan() {
    kind_ = options_.type;
    for (const ExpectedTensor& e : expected_tensors(blueprint_)) {
      const std::string file_name = name_on_file(files_, blueprint_, e.name);
      const TensorInfo* info = files_.find(file_name);
      if (info == nullptr && e.optional) continue;
      const NamedRow row = gguf_name(*architecture_, e.name);
      if (row.name.empty())
        throw UserError(
            files_.where(files_.get(file_name)),
            cat("has no place in a GGUF file of architecture '", architecture_->name, "'"),
            "GGUF files of this family cannot hold it", Exit::bad_data);
      GgufWriter::Entry entry{row.name, find_gguf_type("F32"), files_.get(file_name).shape};
      if (row.order == RowOrder::transposed && entry.shape.size() == 2)
        std::swap(entry.shape[0], entry.shape[1]);
      const bool matrix =
          e.kind == ExpectedTensor::Kind::matrix ||
          (e.kind == ExpectedTensor::Kind::table && row.name != "position_embd.weight");
      if (matrix) entry.type = matrix_type(*info, entry);
      if (matrix && kind_ == nullptr) kind_ = entry.type;
      entries_.push_back(entry);
      items_.push_back({file_name, row.order, row.norm ? architecture_->norm_offset : 0});
    }
  }

  const GgufTensorType* matrix_type(const TensorInfo& info, const GgufWriter::Entry& entry) {
    const GgufTensorType* stored = find_gguf_type(info.dtype_name);
    if (stored != nullptr && stored->format)
      throw UserError(files_.where(info), cat("is ", stored->name, " already"),
                      "convert the model that it was made from", Exit::bad_data);
    if (options_.type == nullptr) return plain_type(*info.dtype);
    if (entry.shape.back() % options_.type->block == 0) return options_.type;
    report_.notes.push_back(cat(entry.name, " has rows of ", entry.shape.back(), ", no whole ",
                                options_.type->name, " blocks: kept as F16"));
    return find_gguf_type("F16");
  }

  Tensor cast(const Tensor& x, DType to) const {
    if (x.dtype() == to) return x;
    Tensor y = Tensor::empty(device_.memory(), x.shape(), to, Purpose::staging);
    device_.kernels().cast(device_.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), to,
                           y.raw(), y.pitch());
    return y;
  }

  void refuse_overflow(const Item& item, const Tensor& from, const Tensor& to) const {
    int64_t before = -1, after = -1;
    const auto& k = device_.kernels();
    k.find_nonfinite(device_.stream(), to.numel(), to.dtype(), to.raw(), &after);
    if (after < 0) return;
    k.find_nonfinite(device_.stream(), from.numel(), from.dtype(), from.raw(), &before);
    throw UserError(files_.where(files_.get(item.name)),
                    before >= 0 ? "holds NaN or Inf" : "holds values too large for F16",
                    before >= 0 ? "the checkpoint is damaged" : "use --type BF16 or F32",
                    Exit::bad_data);
  }

  void write(const Item& item, const GgufWriter::Entry& entry, GgufWriter& writer) const {
    Tensor x = files_.read(item.name, device_.memory(), Purpose::staging);
    if (item.order == RowOrder::transposed && x.shape().rank == 2)
      x = transposed(device_, x, Purpose::staging);
    if (item.offset != 0) {
      x = copied(cast(x, DType::f32));
      for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] += static_cast<float>(item.offset);
    }
    if (entry.type->format) {
      QuantSpec spec;
      spec.format = *entry.type->format;
      x = quantize(device_, x, spec, files_.where(files_.get(item.name)), Purpose::staging).codes;
    } else {
      const Tensor from = x;
      x = cast(x, *entry.type->dtype);
      refuse_overflow(item, from, x);
    }
    // A vector counts as rows of one element.
    const int64_t rows = entry.shape.size() == 1 ? x.numel() : x.rows();
    const int64_t width = x.bytes() / rows;
    if (item.order == RowOrder::same || item.order == RowOrder::transposed)
      return writer.write(x.raw(), x.bytes());
    Tensor moved = Tensor::empty(device_.memory(), {rows, width}, DType::u8, Purpose::staging);
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(moved.data<char>() + gguf_row(item.order, sizes_, rows, r) * width,
                  x.data<char>() + r * width, static_cast<size_t>(width));
    writer.write(moved.raw(), moved.bytes());
  }

  Tensor copied(const Tensor& x) const {
    Tensor y = Tensor::empty(device_.memory(), x.shape(), x.dtype(), Purpose::staging);
    std::memcpy(y.raw(), x.raw(), static_cast<size_t>(x.bytes()));
    return y;
  }

  const Device& device_;
  std::string source_, where_;
  ToGguf options_;
  Json config_;
  Blueprint blueprint_;
  TensorFiles files_;
  const GgufArchitecture* architecture_ = nullptr;
  HeadSizes sizes_;
  std::vector<Item> items_;
  std::vector<GgufWriter::Entry> entries_;
  const GgufTensorType* kind_ = nullptr;
  ConvertReport report_;
};

}  // namespace

ConvertReport convert_to_gguf(const Device& device, const std::string& source,
                              const std::string& out, const ToGguf& options) {
  return GgufMaker(device, source, options).run(out);
}

}  // namespace nibble
