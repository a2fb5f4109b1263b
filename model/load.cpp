// Loading: config.json says the shapes, the files must agree with every one of them, and no tensor
// is left over unread. Weights are converted one tensor at a time through a bounded copy.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/errors.h"
#include "base/files.h"
#include "model/files/hf_directory.h"
#include "model/files/safetensors.h"
#include "model/model.h"
#include "quant/quant_state.h"

namespace nibble {
namespace {

// What the quantization_config of a directory says; only 4-bit bitsandbytes is read yet.
bool read_quantization_config(const Json& config, const std::string& where) {
  auto it = config.find("quantization_config");
  if (it == config.end() || it->is_null()) return false;
  const std::string method = it->value("quant_method", std::string());
  if (method != "bitsandbytes")
    throw UserError(where,
                    cat("quantization_config: quant_method '", method, "' is not supported yet"),
                    "bitsandbytes 4-bit directories and unquantized ones are", Exit::bad_data);
  if (!it->value("load_in_4bit", it->value("_load_in_4bit", false)))
    throw UserError(where, "quantization_config: only load_in_4bit is supported yet, not 8-bit", "",
                    Exit::bad_data);
  const std::string storage = it->value("bnb_4bit_quant_storage", std::string("uint8"));
  if (storage != "uint8")
    throw UserError(
        where,
        cat("quantization_config: bnb_4bit_quant_storage '", storage, "' is not supported yet"),
        "save it with uint8 storage", Exit::bad_data);
  return true;
}

class FileSource : public LinearSource {
 public:
  FileSource(const Device& device, const TensorFiles& files, const LoadOptions& options,
             const std::string& head, bool prequantized)
      : device_(device),
        files_(files),
        options_(options),
        head_(head),
        prequantized_(prequantized) {
    for (const TensorInfo& info : files.tensors()) total_ += info.bytes();
  }

  bool trains() const override { return options_.train_all; }

  Linear linear(const std::string& path, int64_t out, int64_t in, Split split, bool bias) override {
    Linear made;
    if (options_.train_all) {
      made = Linear(path, master(path + ".weight", {out, in}), split);
    } else {
      made = Linear(path, weight(path, out, in), split);
    }
    if (bias) made.set_bias(master(path + ".bias", {out}), options_.train_all);
    return made;
  }

  std::shared_ptr<Parameter> vector(const std::string& name, int64_t width) override {
    return master(name, {width});
  }

  Linear embedding(const std::string& path, int64_t vocab, int64_t hidden) override {
    if (options_.train_all) return Linear(path, master(path + ".weight", {vocab, hidden}));
    return Linear(path, dense(path + ".weight", vocab, hidden));
  }

  // After everything was asked for: what nobody read is named.
  void finish(bool tied) {
    for (const TensorInfo& info : files_.tensors()) {
      if (read_.count(info.name) != 0) continue;
      if (tied && info.name == head_ + ".weight") continue;       // a tied head may be stored twice
      if (ends_with(info.name, "rotary_emb.inv_freq")) continue;  // derived; old files carry it
      throw UserError(files_.where(info), "belongs to no part of the model config.json describes",
                      "check model_type, the biases and the number of layers in config.json",
                      Exit::bad_data);
    }
  }

  int64_t bytes() const { return kept_; }

 private:
  const TensorInfo& take(const std::string& name, const std::vector<int64_t>& shape) {
    const TensorInfo& info = files_.get(name);
    if (info.shape != shape) {
      TensorInfo wanted;
      wanted.shape = shape;
      throw UserError(
          files_.where(info),
          cat("has shape ", info.shape_str(), ", config.json asks for ", wanted.shape_str()),
          "config.json and the weights are of different models", Exit::bad_data);
    }
    if (!info.dtype || !is_float(*info.dtype))
      throw UserError(files_.where(info), cat("has dtype ", info.dtype_name),
                      "weights must be BF16, F16 or F32", Exit::bad_data);
    read_.insert(name);
    done_ += info.bytes();
    if (options_.progress) options_.progress(done_, total_);
    return info;
  }

  Tensor convert(const Tensor& x, DType to, Purpose purpose) {
    if (x.dtype() == to) return x;
    Tensor y = Tensor::empty(device_.memory(), x.shape(), to, purpose);
    device_.kernels().cast(device_.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), to,
                           y.raw(), y.pitch());
    return y;
  }

  std::shared_ptr<Parameter> master(const std::string& name, const std::vector<int64_t>& shape) {
    take(name, shape);
    auto parameter = std::make_shared<Parameter>();
    parameter->name = name;
    parameter->decays = shape.size() > 1;
    Tensor raw = files_.read(name, device_.memory(), Purpose::staging);
    parameter->value = raw.dtype() == DType::f32
                           ? files_.read(name, device_.memory(), Purpose::weights)
                           : convert(raw, DType::f32, Purpose::weights);
    kept_ += parameter->value.bytes();
    return parameter;
  }

  // Kept in the file's dtype, or in bf16 when the products would round to it anyway.
  std::shared_ptr<const Weight> dense(const std::string& name, int64_t out, int64_t in) {
    const TensorInfo& info = take(name, {out, in});
    const bool round = options_.compute == DType::bf16 && info.dtype != DType::bf16;
    Tensor raw = files_.read(name, device_.memory(), round ? Purpose::staging : Purpose::weights);
    if (round) raw = convert(raw, DType::bf16, Purpose::weights);
    kept_ += raw.bytes();
    return std::make_shared<Weight>(dense_weight(raw));
  }

  std::shared_ptr<const Weight> weight(const std::string& path, int64_t out, int64_t in) {
    if (prequantized_ && has_quant_state(path + ".", files_.names_below(path + ".weight")))
      return stored(path, out, in);
    if (auto blocks = files_.blocks(path + ".weight", device_.memory(), Purpose::weights)) {
      take(path + ".weight", {out, in});
      return keep(std::move(*blocks));
    }
    if (!options_.quant || path == head_) return dense(path + ".weight", out, in);
    take(path + ".weight", {out, in});
    Tensor raw = files_.read(path + ".weight", device_.memory(), Purpose::staging);
    return keep(quantize(device_, raw, *options_.quant, path + ".weight"));
  }

  std::shared_ptr<const Weight> stored(const std::string& path, int64_t out, int64_t in) {
    TensorSource source;
    source.file = base_name(files_.where(files_.get(path + ".weight")));
    source.names = files_.names_below(path + ".weight");
    source.tensor = [&](std::string_view name) {
      read_.insert(std::string(name));
      done_ += files_.get(name).bytes();
      return files_.read(name, device_.memory(), Purpose::weights);
    };
    return keep(read_quant_state(device_, path + ".", source, out, in));
  }

  std::shared_ptr<const Weight> keep(Weight weight) {
    if (panel_fits(weight)) weight = to_panel(device_, weight);
    kept_ += weight.bytes();
    if (options_.progress) options_.progress(done_, total_);
    return std::make_shared<Weight>(std::move(weight));
  }

  const Device& device_;
  const TensorFiles& files_;
  const LoadOptions& options_;
  std::string head_;
  bool prequantized_;
  std::set<std::string> read_;
  int64_t done_ = 0, total_ = 0, kept_ = 0;
};

}  // namespace

Model load_model(const Device& device, const std::string& directory, const LoadOptions& options) {
  std::string config_path;
  Json config = read_model_config(directory, &config_path);
  Model model;
  model.directory = directory;
  model.options = options;
  model.config = std::make_shared<Json>(std::move(config));
  Blueprint blueprint = read_blueprint(*model.config, config_path);
  model.prequantized = read_quantization_config(*model.config, config_path);
  if (model.prequantized && options.train_all)
    throw UserError(config_path, "the base is 4-bit: its weights cannot be trained in full",
                    "use adapter: qlora, or a 16-bit base for adapter: full", Exit::usage);
  TensorFiles files = TensorFiles::open(directory);
  FileSource source(device, files, model.options, blueprint.names.head, model.prequantized);
  const bool tied = blueprint.tied;
  model.decoder = std::make_unique<Decoder>(std::move(blueprint), source);
  source.finish(tied);
  model.quant = options.quant;
  for (const Linear* linear : std::as_const(*model.decoder).linears()) {
    const auto& w = linear->weight();
    // Blocks of a GGUF file are nobody's choice: they come with the file.
    if (!w || !w->coded()) continue;
    model.quant = QuantSpec{w->format, w->block, w->nested.has_value()};
    break;
  }
  model.weight_bytes = source.bytes();
  return model;
}

PackedBatch pack(Memory& memory, const std::vector<Document>& documents) {
  int64_t tokens = 0;
  for (const Document& d : documents) tokens += static_cast<int64_t>(d.ids.size());
  PackedBatch batch;
  auto make = [&](int64_t n, DType t) {
    return Tensor::empty(memory, {n}, t, Purpose::activation);
  };
  batch.ids = make(tokens, DType::i32);
  batch.labels = make(tokens, DType::i32);
  Segments& s = batch.segments;
  s.tokens = tokens;
  s.count = static_cast<int64_t>(documents.size());
  s.positions = make(tokens, DType::i32);
  s.samples = make(tokens, DType::i64);
  s.cu = make(s.count + 1, DType::i32);
  int64_t at = 0;
  for (size_t d = 0; d < documents.size(); ++d) {
    const Document& document = documents[d];
    s.cu.data<int32_t>()[d] = static_cast<int32_t>(at);
    const size_t n = document.ids.size();
    for (size_t i = 0; i < n; ++i, ++at) {
      batch.ids.data<int32_t>()[at] = document.ids[i];
      s.positions.data<int32_t>()[at] =
          document.positions.empty() ? static_cast<int32_t>(i) : document.positions[i];
      s.samples.data<int64_t>()[at] = document.sample;
      // The label of position i + 1 is the target of token i; a document's last token has none.
      int32_t target = -100;
      if (i + 1 < n && !document.labels.empty()) target = document.labels[i + 1];
      batch.labels.data<int32_t>()[at] = target;
      batch.target_tokens += target >= 0;
    }
  }
  s.cu.data<int32_t>()[documents.size()] = static_cast<int32_t>(at);
  return batch;
}

}  // namespace nibble
