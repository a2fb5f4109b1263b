#include "model/quantize.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/errors.h"
#include "base/files.h"
#include "model/expected_tensors.h"
#include "model/files/bnb_config.h"
#include "model/files/gguf_model.h"
#include "model/files/hf_directory.h"
#include "model/linear_paths.h"
#include "model/transposed.h"
#include "quant/quant_state.h"

namespace nibble {
namespace {

// One tensor of the output, or one matrix with all its parts.
struct Item {
  const TensorInfo* info = nullptr;
  std::string module;  // "": none that can be quantized
  int64_t out = 0, in = 0;
  bool stored = false;            // quantized on file
  std::optional<QuantSpec> spec;  // to be quantized to
  std::vector<SafetensorsWriter::Entry> entries;
};

class Quantizer {
 public:
  Quantizer(const Device& device, const std::string& directory, const QuantizeOptions& options)
      : device_(device),
        directory_(directory),
        options_(options),
        config_(read_model_config(directory, &config_path_)),
        blueprint_(read_blueprint(config_, config_path_)),
        stored_(read_bnb_config(config_, config_path_)),
        files_(TensorFiles::open(directory)) {
    check_tensors(files_, blueprint_, stored_.has_value());
    options.plan.check_matches(module_paths(blueprint_));
    plan();
  }

  QuantizeReport run(const std::string& path) {
    OutputDirectory out(path, options_.replace);
    for (const std::string& name : companion_files(directory_))
      copy_file(join_path(directory_, name), out.file(name));
    write_config(out);
    const std::vector<std::string> files = files_.file_names();
    Json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", Json::object()}};
    for (size_t f = 0; f < files.size(); ++f)
      write_shard(out, static_cast<int>(f), base_name(files[f]), index["weight_map"]);
    if (files.size() > 1) {
      index["metadata"]["total_size"] = report_.bytes_out;
      write_file(out.file("model.safetensors.index.json"), dump_json(index, 2) + "\n");
    }
    out.commit();
    return std::move(report_);
  }

 private:
  void plan() {
    std::map<std::string, LinearPath> by_weight;
    std::set<std::string> parts;
    for (const LinearPath& p : modules_of(blueprint_)) {
      const std::string name = name_on_file(files_, blueprint_, p.path + ".weight");
      const TensorInfo* info = files_.find(name);
      if (info == nullptr || (blueprint_.tied && p.path == blueprint_.names.head)) continue;
      by_weight[name] = p;
      for (const std::string& part : parts_of(files_, *info))
        if (part != name) parts.insert(part);
    }
    for (const TensorInfo& info : files_.tensors()) {
      report_.bytes_in += info.bytes();
      if (parts.count(info.name) != 0) continue;
      Item item;
      item.info = &info;
      if (const auto it = by_weight.find(info.name); it != by_weight.end()) {
        item.module = it->second.path;
        item.out = it->second.out;
        item.in = it->second.in;
        choose(item);
      }
      announce(item);
      items_.push_back(std::move(item));
    }
  }

  void choose(Item& item) {
    item.stored = stored_ && stored_as(files_, *item.info) != Stored::plain;
    const bool leave = stored_ && !item.stored;  // what a quantized directory left plain
    const auto spec = planned_spec(options_.plan, blueprint_, item.module, leave);
    if (item.stored) {
      kept_ += !options_.back;
      const Format has =
          stored_as(files_, *item.info) == Stored::eight_bit ? Format::int8 : stored_format(item);
      if (spec && !options_.back && spec->format != has)
        throw UserError(files_.where(*item.info),
                        cat("is ", name_of(has), " already and ", name_of(spec->format),
                            " is asked for: codes of codes would lose twice"),
                        cat("quantize the 16-bit model, or go back first: nibble quantize --to "
                            "bf16 ",
                            directory_, " OUT"),
                        Exit::bad_data);
      formats_.emplace_back(item.module, QuantSpec{has, 64, true, {}});
      return;
    }
    if (!options_.back) item.spec = spec;
    if (item.spec && rule_of(item.spec->format).blocks)
      throw UserError(
          item.info->name,
          cat(name_of(item.spec->format),
              " has no place in a Hugging Face directory: it is a GGUF format"),
          cat("nibble convert ", directory_, " model.gguf --type ", name_of(item.spec->format)));
    const bool dense = item.spec && is_dense(item.spec->format);
    formats_.emplace_back(item.module, dense ? std::nullopt : item.spec);
  }

  Format stored_format(const Item& item) const {
    constexpr std::string_view kState = ".quant_state.bitsandbytes__";
    for (const std::string& name : files_.names_below(cat(item.info->name, kState)))
      if (const auto format = format_named(name.substr(item.info->name.size() + kState.size())))
        return *format;
    throw UserError(files_.where(*item.info), "is 4-bit of a type that is not read",
                    "nf4 and fp4 are", Exit::bad_data);
  }

  void announce(Item& item) {
    const TensorInfo& info = *item.info;
    if (item.stored && !options_.back) {
      for (const std::string& part : parts_of(files_, info)) {
        const TensorInfo& p = files_.get(part);
        item.entries.push_back({p.name, *p.dtype, p.shape});
        // Scales that an evaluation turned are written as they should have been.
        if (ends_with(part, ".absmax") && p.shape.size() == 2)
          item.entries.back() = {p.name, DType::f32, {p.shape[0] * p.shape[1]}};
      }
    } else if (item.spec && !is_dense(item.spec->format)) {
      item.entries = coded_entries(info.name, *item.spec, item.out, item.in, options_.storage);
    } else {
      const bool to_float = info.dtype && is_float(*info.dtype);
      const std::optional<DType> spec_dtype =
          item.spec ? std::optional<DType>(rule_of(item.spec->format).dtype) : std::nullopt;
      std::vector<int64_t> shape = info.shape;
      if (item.stored)
        shape = turned(item) ? std::vector<int64_t>{item.in, item.out}
                             : std::vector<int64_t>{item.out, item.in};
      DType dtype = item.stored ? *options_.back : spec_dtype.value_or(*info.dtype);
      if (options_.back && (to_float || item.stored)) dtype = *options_.back;
      item.entries.push_back({info.name, dtype, shape});
    }
  }

  bool turned(const Item& item) const {
    return blueprint_.transposed && !item.module.empty() && is_projection(blueprint_, item.module);
  }

  void write_config(const OutputDirectory& out) {
    Json config = config_;
    const auto some = [&](auto of_item) {
      return std::any_of(items_.begin(), items_.end(), of_item);
    };
    const bool made = some([](const Item& i) { return i.spec && !is_dense(i.spec->format); });
    if (options_.back) {
      config.erase("quantization_config");
      for (const char* key : {"dtype", "torch_dtype"})
        if (config.contains(key)) config[key] = torch_name(*options_.back);
    } else if (made) {
      BnbConfig bnb = config_of(formats_, blueprint_, options_.storage, report_.notes);
      if (stored_) bnb.threshold = stored_->threshold;
      set_bnb_config(config, bnb);
    } else if (!some([](const Item& i) { return i.stored || i.spec; })) {
      throw UserError(directory_, "has no matrix that the plan quantizes",
                      "name a format: --type nf4, fp4 or int8", Exit::usage);
    }
    if (kept_ > 0)
      report_.notes.push_back(cat(kept_, " matrices were quantized already and stay as they are"));
    write_file(out.file("config.json"), dump_json(config, 2) + "\n");
  }

  void write_shard(const OutputDirectory& out, int file, const std::string& name, Json& map) {
    std::vector<SafetensorsWriter::Entry> entries;
    for (const Item& item : items_)
      if (item.info->file == file)
        entries.insert(entries.end(), item.entries.begin(), item.entries.end());
    for (const auto& e : entries) map[e.name] = name;
    SafetensorsWriter writer(out.file(name), std::move(entries));
    for (const Item& item : items_) {
      if (item.info->file != file) continue;
      write_item(item, writer);
      for (const std::string& part : parts_of(files_, *item.info))
        done_ += files_.get(part).bytes();
      if (options_.progress) options_.progress(done_, report_.bytes_in, item.info->name);
    }
    writer.commit();
  }

  void write_item(const Item& item, SafetensorsWriter& writer) {
    const auto put = [&](const Tensor& tensor) {
      writer.write(tensor);
      report_.bytes_out += tensor.bytes();
      ++report_.tensors;
    };
    if (item.stored) {
      const Weight weight =
          read_stored(device_, files_, *item.info, item.out, item.in, {}, Purpose::staging);
      if (options_.back) {
        ++report_.decoded;
        const Tensor w = dequantize(device_, weight, *options_.back, Purpose::staging);
        put(turned(item) ? transposed(device_, w, Purpose::staging) : w);
        return;
      }
      add_report(item, weight, {});
      std::map<std::string, Tensor> parts;
      for (auto& [name, tensor] : stored_tensors(device_, item.info->name, weight))
        parts[name] = tensor;
      for (const auto& entry : item.entries) put(parts.at(entry.name));
      return;
    }
    Tensor x = files_.read(item.info->name, device_.memory(), Purpose::staging);
    if (item.spec && !is_dense(item.spec->format)) {
      if (turned(item)) x = transposed(device_, x, Purpose::staging);
      const Weight weight =
          quantize(device_, x, *item.spec, files_.where(*item.info), Purpose::staging);
      add_report(item, weight, options_.measure ? x : Tensor());
      x = Tensor();
      for (const auto& [name, tensor] :
           stored_tensors(device_, item.info->name, weight, options_.storage))
        put(tensor);
      return;
    }
    put(converted(x, item.entries[0].dtype));
  }

  Tensor converted(const Tensor& x, DType to) const {
    if (x.dtype() == to) return x;
    Tensor y = Tensor::empty(device_.memory(), x.shape(), to, Purpose::staging);
    device_.kernels().cast(device_.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), to,
                           y.raw(), y.pitch());
    return y;
  }

  void add_report(const Item& item, const Weight& weight, const Tensor& original) {
    report_.matrices.push_back(
        {item.info->name, spec_of(weight), item.out, item.in, measure(device_, weight, original)});
  }

  const Device& device_;
  std::string directory_, config_path_;
  const QuantizeOptions& options_;
  Json config_;
  Blueprint blueprint_;
  std::optional<BnbConfig> stored_;
  TensorFiles files_;
  std::vector<Item> items_;
  ModuleFormats formats_;
  int64_t done_ = 0, kept_ = 0;
  QuantizeReport report_;
};

}  // namespace

QuantizeReport quantize_model(const Device& device, const std::string& directory,
                              const std::string& out, const QuantizeOptions& options) {
  if (is_gguf(directory))
    throw UserError(directory, "is a GGUF file",
                    "nibble convert makes a directory of it first: nibble convert FILE.gguf DIR",
                    Exit::usage);
  return Quantizer(device, directory, options).run(out);
}

std::vector<SafetensorsWriter::Entry> coded_entries(const std::string& name, const QuantSpec& spec,
                                                    int64_t out, int64_t in, DType storage) {
  if (rule_of(spec.format).rows) {
    const std::string prefix = name.substr(0, name.size() - 6);
    return {{prefix + "SCB", DType::f32, {out}},
            {name, DType::i8, {out, in}},
            {prefix + "weight_format", DType::u8, {}}};
  }
  const int64_t n = out * in, blocks = (n + spec.block - 1) / spec.block;
  const int64_t bytes = (n + 1) / 2;
  if (bytes % size_of(storage) != 0)
    throw UserError(
        name, cat("its ", bytes, " bytes of codes are no whole number of ", torch_name(storage)),
        "use --storage uint8");
  std::vector<SafetensorsWriter::Entry> all = {
      {name, storage, {bytes / size_of(storage), 1}},
      {name + ".absmax", spec.double_quant ? DType::u8 : DType::f32, {blocks}},
      {name + ".quant_map", DType::f32, {16}}};
  if (spec.double_quant) {
    const int64_t nested = Nested().block;
    all.push_back({name + ".nested_absmax", DType::f32, {(blocks + nested - 1) / nested}});
    all.push_back({name + ".nested_quant_map", DType::f32, {256}});
  }
  all.push_back({cat(name, ".quant_state.bitsandbytes__", name_of(spec.format)),
                 DType::u8,
                 {quant_state_bytes(spec, out, in)},
                 true});
  return all;
}

BnbConfig config_of(const ModuleFormats& formats, const Blueprint& b, DType storage,
                    std::vector<std::string>& notes) {
  BnbConfig config;
  std::map<std::string, int64_t> count;
  std::optional<QuantSpec> main;
  for (const auto& [path, spec] : formats) {
    if (!spec) continue;
    const FormatRule& rule = rule_of(spec->format);
    config.four_bit = config.four_bit || rule.coded;
    const int64_t n = ++count[rule.name];
    if (!main || n > count[name_of(main->format)]) main = spec;
    if (rule.rows && spec->outlier_threshold) config.threshold = *spec->outlier_threshold;
    if (path == b.names.embedding)
      notes.push_back("transformers does not read a quantized embedding; nibble does");
  }
  check(main.has_value(), "config_of: a quantized module");
  config.eight_bit = !config.four_bit;
  if (config.four_bit) {
    config.storage = torch_name(storage);
    config.compute_dtype = torch_name(b.file_dtype);
    if (rule_of(main->format).coded) config.type = name_of(main->format);
    config.double_quant = main->double_quant;
  }
  for (const auto& [name, matrices] : count)
    if (name != "nf4" && name != "fp4" && name != "int8" && rule_of(*format_named(name)).coded)
      notes.push_back(cat("transformers does not read ", name, " codes; nibble does"));
  if (count.size() > 1)
    notes.push_back("modules have different formats; transformers reads one, nibble all");
  // Null leaves the head alone, as it is most often; anything else is said in full.
  std::vector<std::string> plain;
  bool usual = true;
  for (const auto& [path, spec] : formats) {
    if (path == b.names.embedding) continue;
    const bool head = path == b.names.head;
    usual = usual && spec.has_value() != head;
    if (!spec) plain.push_back(path);
  }
  if (!usual) {
    if (b.tied && !b.encoder) plain.push_back(b.names.head);
    config.skip = plain;
  }
  return config;
}

std::vector<QuantizedMatrix> quantized_matrices(const Device& device, const std::string& directory,
                                                const std::string& against) {
  std::string path;
  const Json config = read_model_config(directory, &path);
  std::vector<UserError> unknown;
  const Blueprint b = read_blueprint(config, path, &unknown);
  std::vector<QuantizedMatrix> all;
  if (is_gguf(directory) || !read_bnb_config(config, path)) return all;
  const TensorFiles files = TensorFiles::open(directory);
  std::optional<TensorFiles> originals;
  if (!against.empty()) originals = TensorFiles::open(against);
  for (const LinearPath& p : modules_of(b)) {
    const TensorInfo* info = files.find(name_on_file(files, b, p.path + ".weight"));
    if (info == nullptr || stored_as(files, *info) == Stored::plain) continue;
    const Weight weight = read_stored(device, files, *info, p.out, p.in, {}, Purpose::staging);
    Tensor original;
    if (originals) {
      const std::string name = name_on_file(*originals, b, p.path + ".weight");
      original = originals->read(name, device.memory(), Purpose::staging);
      if (!is_float(original.dtype()) || original.numel() != p.out * p.in)
        throw UserError(originals->where(originals->get(name)),
                        cat("has shape ", original.shape(), " and dtype ",
                            name_of(original.dtype()), ", not (", p.out, ", ", p.in, ") floats"),
                        "--against takes the unquantized model", Exit::bad_data);
      if (b.transposed && is_projection(b, p.path))
        original = transposed(device, original, Purpose::staging);
    }
    all.push_back({info->name, spec_of(weight), p.out, p.in, measure(device, weight, original)});
  }
  return all;
}

}  // namespace nibble
