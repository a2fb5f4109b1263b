#include "cli/model_flags.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "model/files/gguf_model.h"
#include "model/files/hf_directory.h"
#include "model/files/peft_tokens.h"
#include "model/files/provenance.h"
#include "model/text/chat_template_files.h"
#include "model/text/tokenizer.h"
#include "quant/plan_settings.h"
#include "trainer/recipe_quant.h"

namespace nibble {

void ModelFlags::declare(CommandLine& line) {
  line.positional(
      "MODEL", model,
      "a Hugging Face directory, a GGUF file, a hub id in the local cache, or an adapter's "
      "folder (a training's output_dir): its base as it was trained on, with it on top");
  Settings& f = line.flags();
  f.heading("Model");
  f.field("adapter", adapter, "a LoRA adapter on top, not merged").placeholder("DIR");
  declare_weights(f);
}

void ModelFlags::declare_weights(Settings& f) {
  std::vector<std::string> types = quant_type_names();
  types.insert(types.begin(), "none");
  f.field("quant", quant, "quantize linears while loading").choices(types);
  f.field("quant_modules", quant_modules,
          "formats by module: '[{match: lm_head, type: int8}, …]'; see quant.modules in recipes")
      .placeholder("RULES");
  f.field("recipe", recipe, "quantize as this recipe says").placeholder("FILE");
  f.field("threshold", threshold,
          "int8: inputs of at least this size stay 16-bit; default 6, 0: none does")
      .range(at_least(0));
  f.field("no_double", no_double, "keep block scales in fp32");
  f.field("block_size", block_size, "weights that share a scale").range(between(32, 4096));
  f.field("dtype", dtype, "compute type, of activations, products and the KV cache")
      .choices({"f32", "bf16", "f16", "float32", "bfloat16", "float16", "fp16"});
  f.field("threads", threads, "0: as many as this process may use").range(between(0, 4096));
}

LoadOptions ModelFlags::load_options() const {
  LoadOptions options;
  options.compute = DType::bf16;
  if (dtype == "f32" || dtype == "float32") options.compute = DType::f32;
  if (dtype == "f16" || dtype == "float16" || dtype == "fp16") options.compute = DType::f16;
  if (!recipe.empty()) {
    if (quant != "none" || !quant_modules.empty())
      throw UserError("--recipe", "and --quant both say how to quantize", "keep one");
    options.quant = read_quant_recipe(recipe).plan;
  }
  const auto int8_threshold = [&](QuantSpec& spec) {
    if (rule_of(spec.format).rows && !spec.outlier_threshold)
      spec.outlier_threshold = threshold.value_or(6);
  };
  if (quant != "none") {
    QuantSpec spec;
    spec.format = *format_named(quant);
    spec.block = block_size;
    spec.double_quant = !no_double;
    int8_threshold(spec);
    options.quant.linears = spec;
  }
  if (!quant_modules.empty())
    options.quant.modules = parse_quant_rules(quant_modules, "--quant-modules");
  for (QuantRule& rule : options.quant.modules)
    if (rule.spec) int8_threshold(*rule.spec);
  if (threshold) options.quant.threshold = threshold;
  return options;
}

Device ModelFlags::device() const { return Device::cpu(static_cast<int>(threads)); }

bool is_adapter_folder(const std::string& path) {
  return exists(join_path(path, "adapter_config.json")) && !exists(join_path(path, "config.json"));
}

ModelFlags::Resolved ModelFlags::resolve() const {
  Resolved r{"", adapter, load_options()};
  if (!is_adapter_folder(model)) {
    r.directory = resolve_model(model);
    if (r.options.quant && is_gguf(r.directory) && GgufModel(r.directory).has_blocks())
      throw UserError("--quant", cat("is ", quant, ", but ", r.directory, " is quantized already"),
                      "leave --quant out: the file's own blocks are used as they are");
    return r;
  }
  if (!adapter.empty())
    throw UserError(model, "is an adapter's folder, and --adapter names another",
                    "name the base as MODEL, or leave --adapter out");
  r.adapter = model;
  const auto provenance = read_provenance(model);
  const std::string base =
      provenance ? provenance->base_model : read_adapter_config(model).base_model;
  if (base.empty())
    throw UserError(model, "is an adapter that does not name its base",
                    "name both: MODEL --adapter DIR", Exit::bad_data);
  try {
    r.directory = resolve_model(base);
  } catch (const UserError& e) {
    throw UserError(model, cat("its base ", base, " is not found from here: ", e.message()),
                    cat("name both: BASE --adapter ", model), e.code());
  }
  if (!provenance) return r;
  if (!provenance->fingerprint.empty() && provenance->fingerprint != fingerprint_of(r.directory))
    throw UserError(r.directory, "is not the base that this adapter was trained on",
                    cat(join_path(model, kProvenanceFile),
                        " remembers another; name both to use "
                        "it all the same: ",
                        base, " --adapter ", model),
                    Exit::bad_data);
  // A quantized base is taken from its own bytes whatever the plan says of projections.
  if (!r.options.quant) {
    const auto given = r.options.quant.threshold;
    r.options.quant = provenance->quant;
    if (given) r.options.quant.threshold = given;
  }
  return r;
}

std::string ModelFlags::Resolved::template_folder() const {
  return adapter.empty() || read_chat_templates(adapter).empty() ? directory : adapter;
}

Model ModelFlags::load(const Device& device, bool encoder) const {
  Resolved r = resolve();
  r.options.encoder = encoder;
  if (!r.adapter.empty()) r.options.vocab = adapter_vocab(r.adapter);
  Model loaded = load_model(device, r.directory, r.options);
  if (r.adapter.empty()) return loaded;
  load_adapter(r.adapter, *loaded.decoder, 0, false, device);
  if (Tokenizer::present(r.adapter)) loaded.tokenizer_directory = r.adapter;
  return loaded;
}

std::vector<std::vector<int32_t>> read_id_lists(const std::string& path, int64_t vocab) {
  const Json json = read_json(path);
  auto refuse = [&](const std::string& what) {
    throw UserError(path, what, "the file is a list of lists of token ids, [[1, 5, 7], …]",
                    Exit::bad_data);
  };
  if (!json.is_array()) refuse("is not a list");
  const bool single = !json.empty() && json[0].is_number();
  std::vector<std::vector<int32_t>> lists;
  for (const Json& item : single ? Json::array({json}) : json) {
    if (!item.is_array()) refuse(cat("entry ", lists.size(), " is not a list of ids"));
    std::vector<int32_t> ids;
    for (const Json& id : item) {
      if (!id.is_number_integer()) refuse(cat("entry ", lists.size(), " holds ", id.dump()));
      const auto value = id.get<int64_t>();
      if (value < 0 || value >= vocab)
        refuse(cat("entry ", lists.size(), " holds id ", value, ", the vocabulary has ", vocab));
      ids.push_back(static_cast<int32_t>(value));
    }
    lists.push_back(std::move(ids));
  }
  return lists;
}

}  // namespace nibble
