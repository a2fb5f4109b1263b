#include "trainer/recipe.h"

#include <algorithm>
#include <cmath>

#include "base/files.h"

namespace nibble {
namespace {

void read_dataset(const YamlNode& node, Settings& settings, std::vector<DatasetSpec>& out) {
  DatasetSpec spec;
  spec.where = node.where;
  if (node.kind == YamlNode::Kind::scalar) {
    spec.path = node.scalar;
  } else if (node.kind == YamlNode::Kind::map) {
    for (const auto& [key, value] : node.entries) {
      std::string* target = nullptr;
      if (key.scalar == "path") target = &spec.path;
      if (key.scalar == "type") target = &spec.type;
      if (target == nullptr) {
        const std::string close = nearest(key.scalar, {"path", "type"});
        settings.error(
            key.where, cat("unknown dataset key '", key.scalar, "'"),
            close.empty() ? "a dataset has path and type" : cat("did you mean '", close, "'?"));
        continue;
      }
      if (auto wrong = read_string(value, *target))
        settings.error(value.where, cat("datasets: ", key.scalar, " ", *wrong));
    }
  } else {
    settings.error(node.where, "a dataset must be {path: …, type: …}");
    return;
  }
  static const std::vector<std::string> kTypes{"completion", "alpaca", "chat_template", "tokens"};
  if (spec.type == "chat" || spec.type == "messages") spec.type = "chat_template";
  if (spec.type == "text") spec.type = "completion";
  if (!spec.type.empty() && std::find(kTypes.begin(), kTypes.end(), spec.type) == kTypes.end()) {
    const std::string close = nearest(spec.type, kTypes);
    settings.error(
        node.where, cat("dataset type '", spec.type, "' is not supported yet"),
        close.empty() ? cat("types are ", join(kTypes, ", ")) : cat("did you mean '", close, "'?"));
  }
  if (spec.path.empty()) settings.error(node.where, "a dataset has no path", "path: data.jsonl");
  out.push_back(std::move(spec));
}

void declare_datasets(Settings& settings, const std::string& name, const std::string& help,
                      std::vector<DatasetSpec>& specs) {
  settings.custom(
      name, help,
      [&specs](const YamlNode& node, Settings& s) {
        specs.clear();
        if (node.kind == YamlNode::Kind::list) {
          for (const YamlNode& item : node.items) read_dataset(item, s, specs);
        } else {
          read_dataset(node, s, specs);
        }
      },
      [&specs] {
        std::string out = "[";
        for (size_t i = 0; i < specs.size(); ++i) {
          out += cat(i ? ", " : "", "{path: ", yaml_scalar(specs[i].path));
          if (!specs[i].type.empty()) out += ", type: " + specs[i].type;
          out += "}";
        }
        return out + "]";
      });
}

}  // namespace

void Recipe::declare_model(Settings& s) {
  s.heading("Model");
  s.field("base_model", base_model, "a Hugging Face directory, or a hub id in the local cache")
      .alias("model_name_or_path")
      .required()
      .placeholder("DIR");
  s.field("adapter", adapter,
          "qlora: LoRA on a quantized base; lora: on one as it is; full: every weight")
      .choices({"qlora", "lora", "full"});
  declare_quant(s);
  s.field("dtype", dtype, "compute type of activations and products")
      .alias("torch_dtype")
      .alias("bnb_4bit_compute_dtype")
      .alias("quantization_config.bnb_4bit_compute_dtype")
      .alias("bnb_config_kwargs.bnb_4bit_compute_dtype")
      .choices({"f32", "bf16", "f16", "float32", "bfloat16", "float16", "fp16"});
}

void Recipe::declare_adapter(Settings& s) {
  s.heading("Adapter");
  s.field("lora_r", lora_r, "rank").alias("lora_rank").range(between(1, 65536));
  s.field("lora_alpha", lora_alpha, "scale is alpha / r (rsLoRA: alpha / sqrt(r))").range(above(0));
  s.field("lora_dropout", lora_dropout, "on the adapter's input, in training")
      .range({0, 1, false, true});
  s.field("lora_target_modules", lora_target_modules,
          "names, one regex on whole paths, or all-linear")
      .alias("lora_target");
  s.field("use_rslora", use_rslora, "rank-stabilized scale (Kalajdzievski 2023)")
      .alias("peft_use_rslora");
  s.field("lora_model_dir", lora_model_dir, "start from this adapter instead of a fresh one")
      .placeholder("DIR");
  s.field("lora_modules_to_save", lora_modules_to_save,
          "train these whole beside the adapter: the embedding, the head")
      .alias("modules_to_save");
  s.not_yet("use_dora", "DoRA is not supported yet");
  s.not_yet("peft_use_dora", "DoRA is not supported yet");
}

void Recipe::declare_data(Settings& s) {
  s.heading("Data");
  declare_datasets(s, "datasets", "list of {path, type}: completion, alpaca, chat_template, tokens",
                   datasets);
  declare_datasets(s, "test_datasets", "held-out files instead of a split", test_datasets);
  s.field("val_set_size", val_set_size, "rows held out: a share below 1, or a number")
      .alias("val_size")
      .range(at_least(0));
  s.field("sequence_len", sequence_len, "tokens of a row at most")
      .alias("cutoff_len")
      .alias("max_length")
      .range(between(2, 1 << 20));
  s.field("sample_packing", sample_packing, "pack rows side by side up to sequence_len")
      .alias("packing");
  s.field("shuffle", shuffle, "a keyed permutation each epoch; false keeps file order");
  s.field("train_on_inputs", train_on_inputs, "learn prompts too, not only answers");
  s.field(
      "chat_template", chat_template,
      "tokenizer_default: the model's own, ChatML if it has none; chatml; the name of one of the "
      "model's templates; a path; the Jinja text; jinja: what chat_template_jinja says");
  s.field("chat_template_jinja", chat_template_jinja, "a path, or the Jinja text itself")
      .placeholder("FILE");
  s.not_yet("dataset_prepared_path",
            "nibble preprocess is not supported yet; data is read each time");
  s.not_yet("pad_to_sequence_len", "nibble never pads");
}

void Recipe::declare_run(Settings& s) {
  s.heading("Run");
  s.field("micro_batch_size", micro_batch_size, "rows of a forward pass")
      .alias("per_device_train_batch_size")
      .range(between(1, 1 << 20));
  s.field("gradient_accumulation_steps", gradient_accumulation_steps, "micro-batches of a step")
      .range(between(1, 1 << 20));
  s.field("max_steps", max_steps, "stop after this many steps").range(at_least(1));
  s.field("num_epochs", num_epochs, "passes over the data when max_steps is not given")
      .alias("num_train_epochs")
      .range(above(0));
  s.field("gradient_checkpointing", gradient_checkpointing,
          "recompute layers in backward: less memory, a third more time")
      .choices({"off", "every_layer", "true", "false"})
      .not_yet({"auto", "selective", "unsloth", "offload"}, "not supported yet; use every_layer");
  s.field("seed", seed, "of adapters, dropout and data order").range(at_least(0));
  s.field("threads", threads, "0: as many as this process may use").range(between(0, 4096));
  s.heading("Output");
  s.field("output_dir", output_dir, "where everything is written").required().placeholder("DIR");
  s.field("save_dtype", save_dtype, "of the weights that adapter: full writes")
      .choices({"f32", "bf16", "f16"});
  s.field("save_steps", save_steps, "a checkpoint every so many steps; 0: only when stopped")
      .range(at_least(0));
  s.field("save_total_limit", save_total_limit, "checkpoints kept; 0: all").range(at_least(0));
  s.field("eval_steps", eval_steps, "held-out loss every so many steps; 0: at the end")
      .range(at_least(0));
  s.field("logging_steps", logging_steps, "metrics.jsonl has a row every so many steps")
      .range(at_least(1));
  s.field("resume_from_checkpoint", resume_from_checkpoint, "auto, or a checkpoint folder")
      .placeholder("auto|DIR");
}

void Recipe::declare(Settings& s) {
  declare_model(s);
  declare_precision(s);
  declare_adapter(s);
  declare_data(s);
  declare_tokens(s);
  declare_optimizer(s);
  declare_run(s);
}

void Recipe::contradictions(Settings& s) {
  auto both = [&](const char* a, const char* b, const char* what) {
    if (s.given(a) && s.given(b))
      s.error(s.where(b), cat("'", a, "' and '", b, "' both say ", what, "; keep one"));
  };
  both("warmup_steps", "warmup_ratio", "how long to warm up");
  quant_contradictions(s);
  if (chat_template == "jinja" && chat_template_jinja.empty())
    s.error(s.where("chat_template"), "chat_template: jinja needs chat_template_jinja",
            "chat_template_jinja: a path, or the Jinja text");
  if (s.given("chat_template") && chat_template != "jinja")
    both("chat_template", "chat_template_jinja", "which template to use");
  if (full())
    for (const char* key :
         {"lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_rslora",
          "lora_model_dir", "lora_modules_to_save", "trainable_token_indices"})
      if (s.given(key))
        s.error(s.where(key), cat("'", key, "' has no meaning with adapter: full"), "remove it");
  if (!full() && s.given("save_dtype"))
    s.error(s.where("save_dtype"), "save_dtype has no meaning with an adapter: adapters are f32",
            "remove it, or use nibble merge --dtype");
  if (datasets.empty())
    s.error({file}, "'datasets' is missing or empty", "datasets: [{path: train.jsonl}]");
  if (eval_steps > 0 && val_set_size == 0 && test_datasets.empty())
    s.error(s.where("eval_steps"), "eval_steps needs something to evaluate on",
            "set val_set_size or test_datasets");
  if (val_set_size > 0 && !test_datasets.empty())
    s.error(s.where("test_datasets"),
            "'val_set_size' and 'test_datasets' both say what is held out; keep one");
  if (val_set_size >= 1 && val_set_size != std::floor(val_set_size))
    s.error(
        s.where("val_set_size"),
        cat("val_set_size must be a share below 1 or a whole number of rows, got ", val_set_size));
  precision_contradictions(s);
  optimizer_contradictions(s);
}

void Recipe::read(const std::string& path,
                  const std::vector<std::pair<std::string, std::string>>& overrides,
                  Settings& settings) {
  file = path;
  declare(settings);
  settings.read_recipe(path);
  for (const auto& [key, value] : overrides)
    settings.assign(key, value, {cat("command line: ", key)});
  settings.read_environment();
  contradictions(settings);
  settings.finish();
  for (const Field* field : settings.fields())
    if (field->given) given.push_back(field->name);
  chat_template_where =
      settings.where(chat_template_jinja.empty() ? "chat_template" : "chat_template_jinja");
  // One spelling from here on.
  quant.format = *format_named(quant_type);
  if (adapter != "qlora") load_in_4bit = false;
  settle_precision(settings);
  optimizer = optimizer_name().str();
  if (lr_scheduler == "constant_with_warmup") lr_scheduler = "constant";
  if (gradient_checkpointing == "true") gradient_checkpointing = "every_layer";
  if (gradient_checkpointing == "false") gradient_checkpointing = "off";
}

bool Recipe::gives(std::string_view key) const {
  return std::find(given.begin(), given.end(), key) != given.end();
}

std::string Recipe::resolved(const Settings& settings) const {
  std::vector<std::string> without = silent_optimizer_keys();
  without.insert(without.end(), {"bf16:", "fp16:"});  // dtype says it
  if (!full()) without.emplace_back("save_dtype:");
  if (adapter != "qlora" && !load_in_8bit && quant_modules.empty()) without.emplace_back("quant:");
  without.emplace_back("quantization_config:");  // its keys are said above, flat
  without.emplace_back(warmup_ratio > 0 ? "warmup_steps:" : "warmup_ratio:");
  for (const char* key : {"lora_r", "lora_alpha", "lora_dropout", "lora_target_modules",
                          "use_rslora", "lora_modules_to_save", "trainable_token_indices"})
    if (full() || (!lora_model_dir.empty() && !gives(key))) without.push_back(cat(key, ":"));
  if (full()) without.emplace_back("lora_model_dir:");
  if (chat_template_jinja.empty()) without.emplace_back("chat_template_jinja:");
  if (!chat_template_jinja.empty() && chat_template != "jinja")
    without.emplace_back("chat_template:");
  std::string out;
  bool inside = false;  // a map that is left out takes its indented lines with it
  for (const std::string& line : split(settings.dump(), '\n')) {
    if (inside && starts_with(line, " ")) continue;
    inside = false;
    for (const std::string& key : without) inside = inside || starts_with(line, key);
    if (!inside) out += line + "\n";
  }
  while (ends_with(out, "\n\n")) out.pop_back();
  return out;
}

std::string Recipe::template_choice() const {
  if (!chat_template_jinja.empty()) return chat_template_jinja;
  const bool own =
      chat_template == "tokenizer_default" || chat_template == "tokenizer_default_fallback_chatml";
  return own ? "" : chat_template;
}

LoadOptions Recipe::load_options() const {
  LoadOptions options;
  options.compute = compute();
  options.train_all = full();
  options.master = master_dtype == "bf16" ? DType::bf16 : DType::f32;
  options.quant = quant_plan();
  return options;
}

AdapterConfig Recipe::adapter_config() const {
  AdapterConfig config;
  config.r = lora_r;
  config.alpha = lora_alpha;
  config.dropout = lora_dropout;
  config.rslora = use_rslora;
  config.base_model = base_model;
  if (lora_target_modules.size() == 1 && lora_target_modules[0] == "all-linear") {
    config.all_linear = true;
  } else if (lora_target_modules.size() == 1 &&
             lora_target_modules[0].find_first_of("^$*+?()[]{}|\\") != std::string::npos) {
    config.target_regex = lora_target_modules[0];
  } else {
    config.target_modules = lora_target_modules;
  }
  return config;
}

}  // namespace nibble
