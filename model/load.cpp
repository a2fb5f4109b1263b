// Loading: config.json says the shapes, the files must agree with every one of them, and no tensor
// is left over unread. Weights are converted one tensor at a time through a bounded copy.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "model/expected_tensors.h"
#include "model/files/hf_directory.h"
#include "model/files/safetensors.h"
#include "model/grow_rows.h"
#include "model/model.h"
#include "model/transposed.h"
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
             const Blueprint& blueprint, int64_t vocab_on_file, bool prequantized)
      : device_(device),
        files_(files),
        options_(options),
        blueprint_(blueprint),
        vocab_on_file_(vocab_on_file),
        prequantized_(prequantized) {
    for (const TensorInfo& info : files.tensors()) total_ += info.bytes();
  }

  bool trains() const override { return options_.train_all; }
  Memory& memory() override { return device_.memory(); }
  bool has(const std::string& name) const override { return files_.find(on_file(name)) != nullptr; }

  Linear linear(const std::string& path, int64_t out, int64_t in, Split split, bool bias) override {
    Linear made;
    if (options_.train_all) {
      made = Linear(path, master(path + ".weight", {out, in}, options_.master), split);
    } else {
      made = Linear(path, weight(path, out, in), split);
    }
    if (bias) made.set_bias(master(path + ".bias", {out}), options_.train_all);
    return made;
  }

  std::shared_ptr<Parameter> vector(const std::string& name, Shape shape) override {
    auto made = master(name, shape);
    made->decays = false;
    return made;
  }

  Linear embedding(const std::string& path, int64_t rows, int64_t hidden, bool bias) override {
    const std::string name = path + ".weight";
    Linear made = options_.train_all ? Linear(path, master(name, {rows, hidden}, options_.master))
                                     : Linear(path, dense(name, rows, hidden));
    if (bias) made.set_bias(master(blueprint_.names.head + ".bias", {rows}), options_.train_all);
    return made;
  }

  int64_t bytes() const { return kept_; }

 private:
  std::string on_file(const std::string& name) const {
    return name_on_file(files_, blueprint_, name);
  }

  void progress(const TensorInfo& info) {
    done_ += info.bytes();
    if (options_.progress) options_.progress(done_, total_);
  }

  // The tensor as the decoder sees it: (out, in), whatever order the family's files have.
  Tensor read(const std::string& name, Purpose purpose) {
    const TensorInfo& info = files_.get(on_file(name));
    progress(info);
    if (grows(name)) {
      const Tensor x = files_.read(info.name, device_.memory(), Purpose::staging);
      return grow_rows(device_, x, blueprint_.vocab, purpose);
    }
    if (!is_transposed(name)) return files_.read(info.name, device_.memory(), purpose);
    return transposed(device_, files_.read(info.name, device_.memory(), Purpose::staging), purpose);
  }

  // Whether the tensor has a row for every token and the files have too few.
  bool grows(const std::string& name) const {
    const Blueprint::Names& n = blueprint_.names;
    return vocab_on_file_ < blueprint_.vocab &&
           (name == n.embedding + ".weight" || name == n.head + ".weight" ||
            name == n.head + ".bias");
  }

  bool is_transposed(const std::string& name) const {
    if (!blueprint_.transposed) return false;
    for (const LinearSpec& spec : layer_linears(blueprint_))
      if (ends_with(name, spec.part + ".weight")) return true;
    return false;
  }

  Tensor convert(const Tensor& x, DType to, Purpose purpose) {
    if (x.dtype() == to) return x;
    Tensor y = Tensor::empty(device_.memory(), x.shape(), to, purpose);
    device_.kernels().cast(device_.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), to,
                           y.raw(), y.pitch());
    return y;
  }

  std::shared_ptr<Parameter> master(const std::string& name, Shape shape, DType kept = DType::f32) {
    auto parameter = std::make_shared<Parameter>();
    parameter->name = on_file(name);
    parameter->decays = shape.rank > 1;
    const bool plain = files_.get(parameter->name).dtype == kept;
    Tensor raw = read(name, plain ? Purpose::weights : Purpose::staging);
    check_eq(raw.shape(), shape, cat(name, ": shape"));
    parameter->value = convert(raw, kept, Purpose::weights);
    kept_ += parameter->value.bytes();
    return parameter;
  }

  // Kept in the file's dtype, or in bf16 when the products would round to it anyway.
  std::shared_ptr<const Weight> dense(const std::string& name, int64_t out, int64_t in) {
    const bool round =
        options_.compute == DType::bf16 && files_.get(on_file(name)).dtype != DType::bf16;
    Tensor raw = read(name, round ? Purpose::staging : Purpose::weights);
    check_eq(raw.shape(), Shape({out, in}), cat(name, ": shape"));
    if (round) raw = convert(raw, DType::bf16, Purpose::weights);
    kept_ += raw.bytes();
    return std::make_shared<Weight>(dense_weight(raw));
  }

  std::shared_ptr<const Weight> weight(const std::string& path, int64_t out, int64_t in) {
    const std::string name = path + ".weight";
    const std::string file_name = on_file(name);
    const std::string file_path = file_name.substr(0, file_name.size() - 6);  // with its dot
    const bool coded = prequantized_ && has_quant_state(file_path, files_.names_below(file_name));
    if (coded && grows(name))
      throw UserError(files_.where(files_.get(file_name)),
                      "is a 4-bit head: it cannot get rows for more tokens",
                      "use a base whose head is not quantized", Exit::bad_data);
    if (coded) return stored(file_path, out, in);
    if (!grows(name))
      if (auto blocks = files_.blocks(file_name, device_.memory(), Purpose::weights)) {
        progress(files_.get(file_name));
        return keep(std::move(*blocks));
      }
    if (!options_.quant || path == blueprint_.names.head) return dense(name, out, in);
    return keep(quantize(device_, read(name, Purpose::staging), *options_.quant, name));
  }

  std::shared_ptr<const Weight> stored(const std::string& path, int64_t out, int64_t in) {
    if (blueprint_.transposed)
      throw UserError(files_.where(files_.get(path + "weight")),
                      "is a 4-bit weight of a family that stores weights (in, out)",
                      "name the 16-bit model and quantize while loading", Exit::bad_data);
    TensorSource source;
    source.file = base_name(files_.where(files_.get(path + "weight")));
    source.names = files_.names_below(path + "weight");
    source.tensor = [&](std::string_view name) {
      done_ += files_.get(name).bytes();
      return files_.read(name, device_.memory(), Purpose::weights);
    };
    return keep(read_quant_state(device_, path, source, out, in));
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
  const Blueprint& blueprint_;
  int64_t vocab_on_file_;
  bool prequantized_;
  int64_t done_ = 0, total_ = 0, kept_ = 0;
};

// A head stored beside a tied embedding must be that embedding: otherwise one of the two is lost.
void check_tied_head(const TensorFiles& files, const Blueprint& b) {
  if (b.encoder || !b.tied) return;
  const TensorInfo* head = files.find(b.names.head + ".weight");
  const TensorInfo* table = files.find(name_on_file(files, b, b.names.embedding + ".weight"));
  if (head == nullptr || table == nullptr) return;
  bool same = head->dtype_name == table->dtype_name && head->shape == table->shape;
  constexpr int64_t kPiece = int64_t{4} << 20;
  std::vector<char> left(kPiece), right(kPiece);
  for (int64_t at = 0; same && at < head->bytes(); at += kPiece) {
    const int64_t n = std::min(kPiece, head->bytes() - at);
    files.read_bytes(*head, at, left.data(), n);
    files.read_bytes(*table, at, right.data(), n);
    same = std::equal(left.begin(), left.begin() + n, right.begin());
  }
  if (!same)
    throw UserError(files.where(*head),
                    cat("differs from ", table->name, ", but config.json ties the two"),
                    "set tie_word_embeddings to false if both are meant", Exit::bad_data);
}

}  // namespace

Model load_model(const Device& device, const std::string& directory, const LoadOptions& options) {
  std::string config_path;
  Json config = read_model_config(directory, &config_path);
  Model model;
  model.directory = model.tokenizer_directory = directory;
  model.options = options;
  model.config = std::make_shared<Json>(std::move(config));
  Blueprint blueprint = read_blueprint(*model.config, config_path);
  if (blueprint.encoder && !options.encoder)
    throw UserError(config_path,
                    cat("a model of type '", blueprint.family,
                        "' is an encoder: it has no text to "
                        "go on with"),
                    "nibble embed MODEL makes embeddings with it", Exit::bad_data);
  model.prequantized = read_quantization_config(*model.config, config_path);
  if (model.prequantized && options.train_all)
    throw UserError(config_path, "the base is 4-bit: its weights cannot be trained in full",
                    "use adapter: qlora, or a 16-bit base for adapter: full", Exit::usage);
  TensorFiles files = TensorFiles::open(directory);
  check_tensors(files, blueprint, model.prequantized);
  check_tied_head(files, blueprint);
  const int64_t on_file = blueprint.vocab;
  if (options.vocab > on_file) {
    blueprint.vocab = options.vocab;
    // Trained whole, the model itself knows them.
    blueprint.grown = options.train_all ? 0 : options.vocab - on_file;
    (*model.config)["vocab_size"] = options.vocab;
  }
  FileSource source(device, files, model.options, blueprint, on_file, model.prequantized);
  model.decoder = std::make_unique<Decoder>(blueprint, source);
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

}  // namespace nibble
