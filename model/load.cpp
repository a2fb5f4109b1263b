// Loading: config.json says the shapes, the files must agree with every one of them, and no tensor
// is left over unread. Weights are converted one tensor at a time through a bounded copy.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "model/expected_tensors.h"
#include "model/files/bnb_config.h"
#include "model/files/hf_directory.h"
#include "model/files/stored_weight.h"
#include "model/grow_rows.h"
#include "model/linear_paths.h"
#include "model/model.h"
#include "model/transposed.h"

namespace nibble {
namespace {

class FileSource : public LinearSource {
 public:
  FileSource(const Device& device, const TensorFiles& files, const LoadOptions& options,
             const Blueprint& blueprint, int64_t vocab_on_file,
             const std::optional<BnbConfig>& stored)
      : device_(device),
        files_(files),
        options_(options),
        blueprint_(blueprint),
        vocab_on_file_(vocab_on_file),
        stored_(stored) {
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
                  : path == blueprint_.names.embedding ? Linear(path, weight(path, rows, hidden))
                                                       : Linear(path, dense(name, rows, hidden));
    if (bias) made.set_bias(master(blueprint_.names.head + ".bias", {rows}), options_.train_all);
    return made;
  }

  int64_t bytes() const { return kept_; }
  // Weights whose scales went through bf16 on their way to the file.
  int64_t after_eval() const { return after_eval_; }

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

  // f16 ends at 65504: a weight beyond it would be infinite, and so would be what it touches.
  void refuse_overflow(const std::string& name, const Tensor& wide, const Tensor& narrow) {
    int64_t at = -1;
    const KernelTable& k = device_.kernels();
    k.find_nonfinite(device_.stream(), narrow.numel(), narrow.dtype(), narrow.raw(), &at);
    if (at < 0) return;
    double value = 0;
    const char* element = static_cast<const char*>(wide.raw()) + at * size_of(wide.dtype());
    k.cast(device_.stream(), 1, 1, wide.dtype(), element, 1, DType::f64, &value, 1);
    throw UserError(files_.where(files_.get(on_file(name))),
                    cat("holds ", value, " at index ", at, ", and f16 ends at 65504"),
                    "compute in bf16 or f32 (--dtype)", Exit::bad_data);
  }

  // Kept in the file's dtype, or in the compute type when that has 16 bits: the products would
  // round to it anyway.
  std::shared_ptr<const Weight> dense(const std::string& name, int64_t out, int64_t in) {
    const DType compute = options_.compute;
    const bool round = size_of(compute) == 2 && files_.get(on_file(name)).dtype != compute;
    Tensor raw = read(name, round ? Purpose::staging : Purpose::weights);
    check_eq(raw.shape(), Shape({out, in}), cat(name, ": shape"));
    if (round) {
      const Tensor wide = raw;
      raw = convert(wide, compute, Purpose::weights);
      if (compute == DType::f16) refuse_overflow(name, wide, raw);
    }
    kept_ += raw.bytes();
    return std::make_shared<Weight>(dense_weight(raw));
  }

  std::shared_ptr<const Weight> weight(const std::string& path, int64_t out, int64_t in) {
    const std::string name = path + ".weight";
    const std::string file_name = on_file(name);
    const TensorInfo& info = files_.get(file_name);
    const bool coded = stored_ && stored_as(files_, info) != Stored::plain;
    if (coded && grows(name))
      throw UserError(files_.where(info), "is quantized: it cannot get rows for more tokens",
                      "use a base whose embedding and head are not quantized", Exit::bad_data);
    if (coded) return stored(info, path, out, in);
    if (!grows(name) && path != blueprint_.names.embedding)
      if (auto blocks = files_.blocks(file_name, device_.memory(), Purpose::weights)) {
        progress(info);
        return keep(std::move(*blocks));
      }
    const auto spec = planned_spec(options_.quant, blueprint_, path, stored_.has_value());
    if (!spec) return dense(name, out, in);
    return keep(quantize(device_, read(name, Purpose::staging), *spec, name));
  }

  std::shared_ptr<const Weight> stored(const TensorInfo& info, const std::string& path, int64_t out,
                                       int64_t in) {
    const QuantRule* found = options_.quant.rule_for(path);
    const QuantRule rule = found != nullptr ? *found : QuantRule{};
    auto threshold = options_.quant.threshold ? options_.quant.threshold : stored_->threshold;
    if (rule.spec && rule.spec->outlier_threshold) threshold = rule.spec->outlier_threshold;
    Weight weight = read_stored(device_, files_, info, out, in, threshold, Purpose::weights);
    for (const std::string& part : parts_of(files_, info)) done_ += files_.get(part).bytes();
    if (rule.spec && rule.spec->format != weight.format)
      throw UserError(rule.where,
                      cat("quant.modules asks for ", name_of(rule.spec->format), ", ",
                          files_.where(info), " is ", name_of(weight.format), " on file"),
                      "name the 16-bit model, or leave the rule out");
    after_eval_ += weight.stored && weight.stored->after_eval;
    return keep(std::move(weight));
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
  const std::optional<BnbConfig>& stored_;  // none: the files are not quantized
  int64_t done_ = 0, total_ = 0, kept_ = 0, after_eval_ = 0;
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

// The formats of the frozen matrices, most frequent first; Model::quant is the first of them.
void describe_formats(Model& model) {
  std::vector<std::pair<std::string, int64_t>> seen;
  std::optional<QuantSpec> first;
  int64_t best = 0;
  const auto count = [&](const Linear& linear) {
    const auto& w = linear.weight();
    // Blocks of a GGUF file are nobody's choice: they come with the file.
    if (!w || rule_of(w->format).blocks || is_dense(w->format)) return;
    const QuantSpec spec = spec_of(*w);
    const std::string words = words_of(spec);
    auto it =
        std::find_if(seen.begin(), seen.end(), [&](const auto& s) { return s.first == words; });
    if (it == seen.end()) it = seen.insert(it, {words, 0});
    if (++it->second <= best) return;
    best = it->second;
    first = spec;
  };
  const Decoder& decoder = *model.decoder;
  for (const Linear* linear : decoder.linears()) count(*linear);
  for (const Linear* table : {&decoder.embedding(), &decoder.head()})
    if (table != &decoder.embedding() || !decoder.blueprint().encoder) count(*table);
  model.quant = first;
  std::stable_sort(seen.begin(), seen.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [words, n] : seen)
    model.formats += cat(model.formats.empty() ? "" : "; ", words,
                         seen.size() > 1 ? cat(" (", n, n == 1 ? " matrix)" : " matrices)") : "");
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
  const auto stored = read_bnb_config(*model.config, config_path);
  model.prequantized = stored.has_value();
  if (stored && options.train_all)
    throw UserError(
        config_path,
        cat("the base is quantized (", stored->four_bit ? "load_in_4bit" : "load_in_8bit",
            "): its weights cannot be trained in full"),
        "use adapter: qlora, or a 16-bit base for adapter: full", Exit::usage);
  options.quant.check_matches(module_paths(blueprint));
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
  FileSource source(device, files, model.options, blueprint, on_file, stored);
  model.decoder = std::make_unique<Decoder>(blueprint, source);
  describe_formats(model);
  if (source.after_eval() > 0)
    log::warning(cat(directory, ": ", source.after_eval(),
                     " weights were saved by bitsandbytes after an evaluation on a CPU: their "
                     "scales were rounded to bf16 and differ from the quantized model's by up to "
                     "0.4 %; save it again before evaluating"));
  model.weight_bytes = source.bytes();
  return model;
}

}  // namespace nibble
