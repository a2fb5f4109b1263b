// W' = W + scale · B A, computed in fp32 and rounded once to the output's dtype.
#include "model/merge.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/errors.h"
#include "base/files.h"
#include "model/blueprint.h"
#include "model/expected_tensors.h"
#include "model/files/bnb_config.h"
#include "model/files/gguf_model.h"
#include "model/files/gguf_tokenizer.h"
#include "model/files/hf_directory.h"
#include "model/files/peft.h"
#include "model/files/provenance.h"
#include "model/files/stored_weight.h"
#include "model/files/tokenizer_files.h"
#include "model/linear_paths.h"
#include "model/merge_tokens.h"
#include "model/quantize.h"
#include "model/text/token_roles.h"
#include "model/transposed.h"

namespace nibble {
namespace {

// One tensor of the output: where it comes from and what happens to it.
struct Item {
  std::string name;
  std::vector<int64_t> shape;
  int file = 0;                        // of the base; shards keep their partition
  std::string module;                  // path, when it is a matrix that may be quantized
  int64_t out = 0, in = 0;             // of that module
  std::string table;                   // its usual name, when it has a row for every token
  std::optional<QuantSpec> spec = {};  // requant: to be quantized again
};

class Merger {
 public:
  Merger(const Device& device, const std::string& base, const std::string& adapter,
         const MergeOptions& options)
      : device_(device),
        base_(base),
        template_(join_path(adapter, "chat_template.jinja")),
        config_(read_model_config(base, &config_path_)),
        blueprint_(read_blueprint(config_, config_path_)),
        files_(TensorFiles::open(base)),
        adapter_(read_adapter_config(adapter)),
        adapter_files_(TensorFiles::open_file(join_path(adapter, "adapter_model.safetensors"))),
        adapter_directory_(adapter),
        tables_(device, blueprint_, adapter_, adapter_files_) {
    paths_ = linear_paths(blueprint_);
    stored_ = read_bnb_config(config_, config_path_).has_value();
    check_adapter();
    choose_mode(adapter, options);
  }

  MergeReport run(const std::string& out_path) {
    plan();
    if (report_.mode == MergeMode::requant) survey();
    OutputDirectory out(out_path);
    copy_companions(out);
    write_config(out);
    if (is_gguf(base_) && !Tokenizer::present(adapter_directory_))
      for (const auto& [name, bytes] : tokenizer_files(parse_gguf(InputFile(base_))))
        write_file(out.file(name), bytes);
    // A template that the adapter was trained with replaces the base's.
    if (exists(template_)) write_file(out.file("chat_template.jinja"), read_file(template_));
    const std::vector<std::string> files = files_.file_names();
    Json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", Json::object()}};
    for (size_t f = 0; f < files.size(); ++f) write_shard(out, static_cast<int>(f), files, index);
    if (files.size() > 1) {
      index["metadata"]["total_size"] = report_.bytes;
      write_file(out.file("model.safetensors.index.json"), dump_json(index, 2) + "\n");
    }
    out.commit();
    return report_;
  }

 private:
  std::string adapter_name(const std::string& path, const char* factor) const {
    return cat("base_model.model.", path, ".", factor, ".weight");
  }

  void check_adapter() {
    std::set<std::string> known = tables_.names();
    for (const LinearPath& p : paths_) {
      const std::string a = adapter_name(p.path, "lora_A"), b = adapter_name(p.path, "lora_B");
      if (adapter_files_.find(a) == nullptr && adapter_files_.find(b) == nullptr) continue;
      const TensorInfo &ia = adapter_files_.get(a), &ib = adapter_files_.get(b);
      const std::vector<int64_t> want_a{adapter_.r, p.in}, want_b{p.out, adapter_.r};
      for (const auto& [info, want] : {std::pair(&ia, &want_a), std::pair(&ib, &want_b)})
        if (info->shape != *want)
          throw UserError(adapter_files_.where(*info),
                          cat("has shape ", info->shape_str(), ", the base needs (", (*want)[0],
                              ", ", (*want)[1], ")"),
                          "the adapter belongs to another base model", Exit::bad_data);
      known.insert(a);
      known.insert(b);
    }
    for (const TensorInfo& info : adapter_files_.tensors())
      if (known.count(info.name) == 0)
        throw UserError(adapter_files_.where(info), "belongs to no linear layer of the base",
                        "the adapter is of another base model, or of a kind not supported yet",
                        Exit::bad_data);
  }

  void choose_mode(const std::string& adapter, const MergeOptions& options) {
    const auto provenance = read_provenance(adapter);
    if (provenance && provenance->fingerprint != fingerprint_of(base_))
      throw UserError(base_, "is not the base that this adapter was trained on",
                      cat("its ", kProvenanceFile, " names ", provenance->base_model),
                      Exit::bad_data);
    if (provenance) quant_ = provenance->quant;
    const bool trained_4bit = stored_ || quant_;
    report_.mode = options.mode.value_or(trained_4bit ? MergeMode::trained : MergeMode::original);
    if (report_.mode == MergeMode::original && stored_)
      throw UserError(base_, "holds quantized weights only: there are no 16-bit ones to merge into",
                      "use --mode trained, or name the 16-bit base");
    if (report_.mode != MergeMode::original && !trained_4bit)
      throw UserError(adapter, "does not say how its base was quantized",
                      "use --mode original, or merge an adapter that nibble trained with qlora");
    report_.dtype = options.dtype.value_or(blueprint_.file_dtype);
    min_survival_ = options.min_survival;
  }

  // Every tensor of the output in the order of the base's files; a 4-bit weight is one tensor
  // again.
  void plan() {
    std::map<std::string, LinearPath> by_weight;
    std::set<std::string> parts;  // of quantized weights, but for the weights themselves
    for (const LinearPath& p : modules_of(blueprint_)) {
      const std::string name = name_on_file(files_, blueprint_, p.path + ".weight");
      const TensorInfo* info = files_.find(name);
      if (info == nullptr || (blueprint_.tied && p.path == blueprint_.names.head)) continue;
      by_weight[name] = p;
      for (const std::string& part : parts_of(files_, *info))
        if (part != name) parts.insert(part);
    }
    std::map<std::string, std::string> tables;
    for (const std::string& name :
         {tables_.embedding(), tables_.head(), blueprint_.names.head + ".bias"})
      if (tables_.changes(name)) tables[name_on_file(files_, blueprint_, name)] = name;
    for (const TensorInfo& info : files_.tensors()) {
      if (parts.count(info.name) != 0) continue;
      Item item{info.name, info.shape, info.file, "", 0, 0, ""};
      if (const auto it = by_weight.find(info.name); it != by_weight.end()) {
        item.module = it->second.path;
        item.out = it->second.out;
        item.in = it->second.in;
        item.shape = {item.out, item.in};
        if (turned(item)) std::reverse(item.shape.begin(), item.shape.end());
        if (report_.mode == MergeMode::requant) item.spec = format_of(item, info);
      }
      if (const auto table = tables.find(info.name); table != tables.end()) {
        item.table = table->second;
        item.shape[0] = tables_.vocab();
      }
      items_.push_back(std::move(item));
    }
    if (!tables_.unties() || files_.find(tables_.head()) != nullptr) return;
    const int last = static_cast<int>(files_.file_names().size()) - 1;
    items_.push_back(
        {tables_.head(), {tables_.vocab(), blueprint_.hidden}, last, "", 0, 0, tables_.head()});
  }

  // Whether it lies (in, out) on file, unquantized.
  bool turned(const Item& item) const {
    return blueprint_.transposed && is_projection(blueprint_, item.module);
  }

  // What the trained model had it in.
  std::optional<QuantSpec> format_of(const Item& item, const TensorInfo& info) {
    if (info.blocks)
      throw UserError(files_.where(info), "is a block of a GGUF file: it cannot be quantized again",
                      "use --mode trained", Exit::usage);
    std::optional<QuantSpec> spec = planned_spec(quant_, blueprint_, item.module, stored_);
    if (stored_ && stored_as(files_, info) != Stored::plain)
      spec = spec_of(read_stored(device_, files_, info, item.out, item.in, {}, Purpose::staging));
    if (spec && is_dense(spec->format)) spec.reset();
    formats_.emplace_back(item.module, spec);
    return spec;
  }

  // What would be left of the deltas, before anything is written.
  void survey() {
    double along = 0, asked = 0;
    for (const Item& item : items_) {
      if (!item.spec || adapter_files_.find(adapter_name(item.module, "lora_A")) == nullptr)
        continue;
      Weight weight;
      report_.survival.push_back(requantized(item, weight));
      along += report_.survival.back().along;
      asked += report_.survival.back().asked;
    }
    report_.survived = asked > 0 ? along / asked : 1;
    if (report_.survived >= min_survival_) return;
    std::vector<Survival> worst = report_.survival;
    std::sort(worst.begin(), worst.end(),
              [](const Survival& a, const Survival& b) { return a.share() < b.share(); });
    std::vector<std::string> names;
    for (size_t i = 0; i < std::min<size_t>(3, worst.size()); ++i)
      names.push_back(cat(worst[i].name, " ", fixed(100 * worst[i].share(), 1), " %"));
    throw UserError(adapter_directory_,
                    cat("quantized again, ", fixed(100 * report_.survived, 1),
                        " % of its delta survives, less than --min-survival ",
                        fixed(100 * min_survival_, 1), " %; the worst are ", join(names, ", ")),
                    "merge to 16 bits (--mode trained or original), or serve the base with "
                    "--adapter",
                    Exit::check_failed);
  }

  Survival requantized(const Item& item, Weight& weight) {
    const Tensor base = convert(base_value(item), DType::f32);
    const Tensor delta =
        Tensor::zeros(device_.memory(), {item.out, item.in}, DType::f32, Purpose::staging);
    add_delta(item, delta);
    return survive(device_, base, delta, *item.spec, report_.dtype, item.name, weight);
  }

  // A quantized item: its own bytes where the adapter leaves it alone.
  Weight quantized(const Item& item) {
    const TensorInfo& info = files_.get(item.name);
    if (adapter_files_.find(adapter_name(item.module, "lora_A")) != nullptr) {
      Weight weight;
      requantized(item, weight);
      ++report_.merged;
      return weight;
    }
    if (stored_ && stored_as(files_, info) != Stored::plain)
      return read_stored(device_, files_, info, item.out, item.in, {}, Purpose::staging);
    return quantize(device_, matrix(item), *item.spec, item.name, Purpose::staging);
  }

  // The base's, and in their place the adapter's own tokenizer.
  void copy_companions(const OutputDirectory& out) {
    const std::vector<std::string> own = tokenizer_files(adapter_directory_);
    for (const std::string& name : own)
      copy_file(join_path(adapter_directory_, name), out.file(name));
    std::unique_ptr<Tokenizer> before, after;
    if (Tokenizer::present(base_) && Tokenizer::present(adapter_directory_)) {
      before = Tokenizer::load(base_);
      after = Tokenizer::load(adapter_directory_);
    }
    if (after) follow_roles(*before, *after, true, config_);
    for (const std::string& name : companion_files(base_)) {
      if (std::find(own.begin(), own.end(), name) != own.end()) continue;
      if (after && name == "generation_config.json") {
        const Json was = read_json(join_path(base_, name));
        Json is = was;
        follow_roles(*before, *after, false, is);
        if (is != was) {
          write_file(out.file(name), dump_json(is, 2) + "\n");
          continue;
        }
      }
      copy_file(join_path(base_, name), out.file(name));
    }
  }

  void write_config(const OutputDirectory& out) {
    Json config = config_;
    config.erase("quantization_config");
    for (const char* key : {"dtype", "torch_dtype"})
      if (config.contains(key)) config[key] = torch_name(report_.dtype);
    if (tables_.vocab() != blueprint_.vocab) config["vocab_size"] = tables_.vocab();
    if (tables_.unties()) config["tie_word_embeddings"] = false;
    if (std::any_of(formats_.begin(), formats_.end(), [](const auto& f) { return !!f.second; })) {
      BnbConfig bnb = config_of(formats_, blueprint_, DType::u8, report_.notes);
      if (const auto had = read_bnb_config(config_, config_path_)) bnb.threshold = had->threshold;
      set_bnb_config(config, bnb);
    }
    write_file(out.file("config.json"), dump_json(config, 2) + "\n");
  }

  void write_shard(const OutputDirectory& out, int file, const std::vector<std::string>& files,
                   Json& index) {
    std::string name = base_name(files[static_cast<size_t>(file)]);
    if (!ends_with(name, ".safetensors")) name = "model.safetensors";  // of a GGUF file
    std::vector<SafetensorsWriter::Entry> entries;
    for (const Item& item : items_) {
      if (item.file != file) continue;
      if (!item.spec) {
        entries.push_back({item.name, report_.dtype, item.shape});
        continue;
      }
      for (auto& e : coded_entries(item.name, *item.spec, item.out, item.in, DType::u8))
        entries.push_back(std::move(e));
    }
    SafetensorsWriter writer(out.file(name), std::move(entries));
    const auto put = [&](const std::string& tensor, const Tensor& value) {
      writer.write(value);
      index["weight_map"][tensor] = name;
      report_.bytes += value.bytes();
      ++report_.tensors;
    };
    for (const Item& item : items_) {
      if (item.file != file) continue;
      if (item.spec) {
        Weight weight = quantized(item);
        weight.stored = nullptr;  // in one form, whatever the base's was
        for (const auto& [part, value] : stored_tensors(device_, item.name, weight))
          put(part, value);
        continue;
      }
      const Tensor exact = !item.table.empty()   ? merged_table(item)
                           : item.module.empty() ? read(item.name)
                                                 : merged(item);
      put(item.name, convert(exact, report_.dtype));
    }
    writer.commit();
  }

  Tensor read(const std::string& name) {
    return files_.read(name, device_.memory(), Purpose::staging);
  }

  // A tied head that is to be one of its own begins as the embedding.
  Tensor merged_table(const Item& item) {
    ++report_.merged;
    const bool there = files_.find(item.name) != nullptr;
    if (there && !item.module.empty()) return tables_.merged(item.table, base_value(item));
    return tables_.merged(
        item.table,
        read(there ? item.name : name_on_file(files_, blueprint_, tables_.embedding())));
  }

  Tensor convert(const Tensor& x, DType to) {
    if (x.dtype() == to) return x;
    if (!is_float(x.dtype()))
      throw UserError(base_, cat("a tensor of dtype ", name_of(x.dtype()), " cannot be merged"), "",
                      Exit::bad_data);
    Tensor y = Tensor::empty(device_.memory(), x.shape(), to, Purpose::staging);
    device_.kernels().cast(device_.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), to,
                           y.raw(), y.pitch());
    return y;
  }

  // A module's plain weight (out, in).
  Tensor matrix(const Item& item) {
    const Tensor w = read(item.name);
    return turned(item) ? transposed(device_, w, Purpose::staging) : w;
  }

  // The base's weight as the chosen mode sees it (out, in): decoded ones in fp32.
  Tensor base_value(const Item& item) {
    const TensorInfo& info = files_.get(item.name);
    if (stored_ && stored_as(files_, info) != Stored::plain)
      return dequantize(device_,
                        read_stored(device_, files_, info, item.out, item.in, {}, Purpose::staging),
                        DType::f32, Purpose::staging);
    // Blocks of a GGUF file were trained on as they are.
    std::optional<QuantSpec> spec;
    if (report_.mode == MergeMode::trained && !info.blocks)
      spec = planned_spec(quant_, blueprint_, item.module, stored_);
    if (!spec) return matrix(item);
    return dequantize(device_, quantize(device_, matrix(item), *spec, item.name, Purpose::staging),
                      DType::f32, Purpose::staging);
  }

  // As it lies on file.
  Tensor merged(const Item& item) {
    const Tensor w = with_adapter(item);
    return turned(item) ? transposed(device_, w, Purpose::staging) : w;
  }

  Tensor with_adapter(const Item& item) {
    Tensor w = base_value(item);
    const std::string a_name = adapter_name(item.module, "lora_A");
    if (adapter_files_.find(a_name) == nullptr) return w;
    w = convert(w, DType::f32);
    ++report_.merged;
    add_delta(item, w);
    return w;
  }

  // w f32 (out, in) += scale · B A
  void add_delta(const Item& item, const Tensor& w) {
    Memory& memory = device_.memory();
    const auto factor = [&](const char* which) {
      return convert(
          adapter_files_.read(adapter_name(item.module, which), memory, Purpose::staging),
          DType::f32);
    };
    const Tensor a = factor("lora_A"), b = factor("lora_B");
    const WeightView view = dense_weight(a).view();
    const int64_t rows = b.rows();
    Tensor scratch = Tensor::empty(
        memory, {device_.kernels().linear_scratch(device_.stream(), rows, view, DType::f32)},
        DType::u8, Purpose::scratch);
    device_.kernels().linear_dx(device_.stream(), rows, view, DType::f32, b.raw(), b.pitch(),
                                DType::f32, w.raw(), w.pitch(), adapter_.scale(), true,
                                scratch.raw());
  }

  const Device& device_;
  std::string base_, config_path_, template_;
  Json config_;
  Blueprint blueprint_;
  TensorFiles files_;
  AdapterConfig adapter_;
  TensorFiles adapter_files_;
  std::string adapter_directory_;
  MergedTables tables_;
  std::vector<LinearPath> paths_;
  QuantPlan quant_;
  bool stored_ = false;
  std::vector<Item> items_;
  ModuleFormats formats_;  // requant: of every module
  double min_survival_ = 0;
  MergeReport report_;
};

}  // namespace

MergeReport merge(const Device& device, const std::string& base_directory,
                  const std::string& adapter_directory, const std::string& out,
                  const MergeOptions& options) {
  return Merger(device, base_directory, adapter_directory, options).run(out);
}

}  // namespace nibble
