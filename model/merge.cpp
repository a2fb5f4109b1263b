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
#include "model/files/gguf_model.h"
#include "model/files/gguf_tokenizer.h"
#include "model/files/hf_directory.h"
#include "model/files/peft.h"
#include "model/files/provenance.h"
#include "model/files/safetensors.h"
#include "model/files/tokenizer_files.h"
#include "model/linear_paths.h"
#include "model/merge_tokens.h"
#include "model/text/token_roles.h"
#include "model/transposed.h"
#include "quant/quant_state.h"

namespace nibble {
namespace {

// One tensor of the output: where it comes from and what happens to it.
struct Item {
  std::string name;
  std::vector<int64_t> shape;
  int file = 0;        // of the base; shards keep their partition
  std::string linear;  // path, when it is a projection's weight
  std::string table;   // its usual name, when it has a row for every token
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
    stored_4bit_ =
        config_.contains("quantization_config") && !config_["quantization_config"].is_null();
    check_adapter();
    choose_mode(adapter, options);
  }

  MergeReport run(const std::string& out_path) {
    plan();
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
    const bool trained_4bit = stored_4bit_ || quant_.has_value();
    report_.mode = options.mode.value_or(trained_4bit ? MergeMode::trained : MergeMode::original);
    if (report_.mode == MergeMode::original && stored_4bit_)
      throw UserError(base_, "holds 4-bit weights only: there are no 16-bit ones to merge into",
                      "use --mode trained, or name the 16-bit base");
    if (report_.mode == MergeMode::trained && !trained_4bit)
      throw UserError(adapter, "does not say how its base was quantized",
                      "use --mode original, or merge an adapter that nibble trained with qlora");
    report_.dtype = options.dtype.value_or(blueprint_.file_dtype);
  }

  // Every tensor of the output in the order of the base's files; a 4-bit weight is one tensor
  // again.
  void plan() {
    std::map<std::string, const LinearPath*> by_weight;
    for (const LinearPath& p : paths_)
      by_weight[name_on_file(files_, blueprint_, p.path + ".weight")] = &p;
    std::map<std::string, std::string> tables;
    for (const std::string& name :
         {tables_.embedding(), tables_.head(), blueprint_.names.head + ".bias"})
      if (tables_.changes(name)) tables[name_on_file(files_, blueprint_, name)] = name;
    for (const TensorInfo& info : files_.tensors()) {
      auto it = by_weight.find(info.name);
      if (it != by_weight.end()) {
        std::vector<int64_t> shape{it->second->out, it->second->in};
        if (blueprint_.transposed) std::reverse(shape.begin(), shape.end());
        items_.push_back({info.name, shape, info.file, it->second->path, ""});
        continue;
      }
      bool state = false;  // weight.absmax and its like belong to a weight above
      if (stored_4bit_)
        if (size_t dot = info.name.find(".weight."); dot != std::string::npos)
          state = by_weight.count(info.name.substr(0, dot + 7)) != 0;
      if (!state) items_.push_back({info.name, info.shape, info.file, "", ""});
      if (const auto table = tables.find(info.name); table != tables.end()) {
        items_.back().table = table->second;
        items_.back().shape[0] = tables_.vocab();
      }
    }
    if (!tables_.unties() || files_.find(tables_.head()) != nullptr) return;
    const int last = static_cast<int>(files_.file_names().size()) - 1;
    items_.push_back(
        {tables_.head(), {tables_.vocab(), blueprint_.hidden}, last, "", tables_.head()});
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
    write_file(out.file("config.json"), dump_json(config, 2) + "\n");
  }

  void write_shard(const OutputDirectory& out, int file, const std::vector<std::string>& files,
                   Json& index) {
    std::string name = base_name(files[static_cast<size_t>(file)]);
    if (!ends_with(name, ".safetensors")) name = "model.safetensors";  // of a GGUF file
    std::vector<SafetensorsWriter::Entry> entries;
    for (const Item& item : items_)
      if (item.file == file) entries.push_back({item.name, report_.dtype, item.shape});
    SafetensorsWriter writer(out.file(name), std::move(entries));
    for (const Item& item : items_) {
      if (item.file != file) continue;
      const Tensor exact = !item.table.empty()   ? merged_table(item)
                           : item.linear.empty() ? read(item.name)
                                                 : merged(item);
      const Tensor value = convert(exact, report_.dtype);
      writer.write(value);
      index["weight_map"][item.name] = name;
      report_.bytes += value.bytes();
      ++report_.tensors;
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

  // A projection's weight (out, in).
  Tensor matrix(const std::string& name) {
    const Tensor w = read(name);
    return blueprint_.transposed ? transposed(device_, w, Purpose::staging) : w;
  }

  // The base's weight as the chosen mode sees it, in fp32 (out, in).
  Tensor base_value(const Item& item) {
    if (report_.mode == MergeMode::original) return convert(matrix(item.name), DType::f32);
    const std::vector<std::string> parts = files_.names_below(item.name);
    if (stored_4bit_ && has_quant_state(file_path(item), parts)) {
      TensorSource source;
      source.file = base_;
      source.names = parts;
      source.tensor = [&](std::string_view n) { return read(std::string(n)); };
      return dequantize(device_,
                        read_quant_state(device_, file_path(item), source, item.shape[0],
                                         item.shape[1], Purpose::staging),
                        DType::f32, Purpose::staging);
    }
    // Blocks of a GGUF file were trained on as they are.
    if (!quant_ || files_.get(item.name).blocks) return convert(matrix(item.name), DType::f32);
    return dequantize(device_,
                      quantize(device_, matrix(item.name), *quant_, item.name, Purpose::staging),
                      DType::f32, Purpose::staging);
  }

  // "model.layers.0.mlp.up_proj." as the files spell it.
  static std::string file_path(const Item& item) {
    return item.name.substr(0, item.name.size() - std::string("weight").size());
  }

  // As it lies on file.
  Tensor merged(const Item& item) {
    const Tensor w = with_adapter(item);
    return blueprint_.transposed ? transposed(device_, w, Purpose::staging) : w;
  }

  Tensor with_adapter(const Item& item) {
    Tensor w = base_value(item);
    const std::string a_name = adapter_name(item.linear, "lora_A");
    if (adapter_files_.find(a_name) == nullptr) return w;
    ++report_.merged;
    Memory& memory = device_.memory();
    Tensor a = convert(adapter_files_.read(a_name, memory, Purpose::staging), DType::f32);
    Tensor b =
        convert(adapter_files_.read(adapter_name(item.linear, "lora_B"), memory, Purpose::staging),
                DType::f32);
    const WeightView view = dense_weight(a).view();
    const int64_t rows = b.rows();
    Tensor scratch = Tensor::empty(
        memory, {device_.kernels().linear_scratch(device_.stream(), rows, view, DType::f32)},
        DType::u8, Purpose::scratch);
    device_.kernels().linear_dx(device_.stream(), rows, view, DType::f32, b.raw(), b.pitch(),
                                DType::f32, w.raw(), w.pitch(), adapter_.scale(), true,
                                scratch.raw());
    return w;
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
  std::optional<QuantSpec> quant_;
  bool stored_4bit_ = false;
  std::vector<Item> items_;
  MergeReport report_;
};

}  // namespace

MergeReport merge(const Device& device, const std::string& base_directory,
                  const std::string& adapter_directory, const std::string& out,
                  const MergeOptions& options) {
  return Merger(device, base_directory, adapter_directory, options).run(out);
}

}  // namespace nibble
