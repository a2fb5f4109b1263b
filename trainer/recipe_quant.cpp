// bitsandbytes' spellings mean the same as nibble's, flat or in a map as Hugging Face's examples
// have them.
#include "trainer/recipe_quant.h"

#include <algorithm>

#include "quant/plan_settings.h"
#include "trainer/recipe.h"

namespace nibble {
namespace {

const char* const kMaps[] = {"quantization_config.", "bnb_config_kwargs."};

Field& everywhere(Field& field, const std::string& name, bool flat = true) {
  if (flat) field.alias(name);
  for (const char* map : kMaps) field.alias(map + name);
  return field;
}

void read_skip(const YamlNode& node, Settings& s, std::optional<std::vector<std::string>>& skip) {
  skip.reset();
  if (node.kind == YamlNode::Kind::null) return;
  const bool list = node.kind == YamlNode::Kind::list;
  skip.emplace();
  for (const YamlNode& item : list ? node.items : std::vector<YamlNode>{node}) {
    std::string name;
    if (auto wrong = read_string(item, name))
      s.error(item.where, cat("llm_int8_skip_modules: a name ", *wrong));
    skip->push_back(name);
  }
}

}  // namespace

void Recipe::declare_quant(Settings& s) {
  everywhere(s.field("load_in_4bit", load_in_4bit,
                     "quantize the base to 4 bits while loading (what qlora means)"),
             "load_in_4bit", false);
  everywhere(
      s.field("load_in_8bit", load_in_8bit, "with adapter: lora: keep the base in int8 (LLM.int8)"),
      "load_in_8bit", false);
  everywhere(s.field("quant.type", quant_type, "number format of the frozen base"),
             "bnb_4bit_quant_type")
      .choices(quant_type_names());
  everywhere(s.field("quant.double_quant", quant.double_quant, "quantize the block scales too")
                 .alias("quant.double"),
             "bnb_4bit_use_double_quant");
  s.field("quant.block_size", quant.block, "weights that share a scale; 4-bit formats")
      .alias("quant.block")
      .range(between(32, 4096));
  everywhere(s.field("quant.threshold", llm_int8_threshold,
                     "int8: inputs of at least this size stay 16-bit; 0: none does"),
             "llm_int8_threshold")
      .range(at_least(0));
  s.custom(
      "quant.modules", "formats by module: [{match: \"*.mlp.down_proj\", type: int8}, …]",
      [this](const YamlNode& node, Settings& settings) {
        read_quant_rules(node, settings, quant_modules);
      },
      [this] { return quant_rules_text(quant_modules); });
  everywhere(s.custom(
                 "quant.skip", "modules that stay as they are; as transformers reads the list",
                 [this](const YamlNode& node, Settings& settings) {
                   read_skip(node, settings, quant_skip);
                 },
                 [this] {
                   if (!quant_skip) return std::string("null");
                   std::vector<std::string> names;
                   for (const std::string& name : *quant_skip) names.push_back(yaml_scalar(name));
                   return cat("[", join(names, ", "), "]");
                 }),
             "llm_int8_skip_modules");
  everywhere(s.field("quant.storage", quant_storage, "dtype that packed codes are saved under"),
             "bnb_4bit_quant_storage")
      .choices({"uint8", "bfloat16", "float16", "float32"});
  const char* const none = "llm_int8_has_fp16_weight";
  everywhere(s.field(none, llm_int8_has_fp16_weight, "only false: int8 weights are frozen"), none,
             false);
  const char* const offload = "llm_int8_enable_fp32_cpu_offload";
  everywhere(s.field(offload, llm_int8_cpu_offload, "without effect: says where modules lie"),
             offload, false);
  s.field("quantization_config.quant_method", quant_method, "only bitsandbytes")
      .alias("bnb_config_kwargs.quant_method")
      .choices({"bitsandbytes"});
}

void Recipe::quant_contradictions(Settings& s) {
  if (s.given("load_in_4bit") && s.given("load_in_8bit") && load_in_4bit && load_in_8bit)
    s.error(s.where("load_in_8bit"), "load_in_4bit and load_in_8bit are both true", "keep one");
  if (s.given("load_in_4bit") && load_in_4bit && adapter != "qlora")
    s.error(s.where("load_in_4bit"), cat("load_in_4bit: true contradicts adapter: ", adapter),
            full() ? "4-bit weights cannot be trained: use adapter: qlora, or load_in_4bit: false"
                   : "use adapter: qlora, or load_in_4bit: false");
  if (s.given("load_in_4bit") && !load_in_4bit && adapter == "qlora")
    s.error(s.where("load_in_4bit"), "load_in_4bit: false contradicts adapter: qlora",
            "use adapter: lora for an unquantized base");
  if (load_in_8bit && adapter != "lora")
    s.error(s.where("load_in_8bit"), cat("load_in_8bit: true contradicts adapter: ", adapter),
            full() ? "8-bit weights cannot be trained: use adapter: lora, or load_in_8bit: false"
                   : "use adapter: lora, which keeps the base in int8 with it");
  if (full() && !quant_modules.empty())
    s.error(s.where("quant.modules"), "quant.modules has no meaning with adapter: full",
            "remove it, or use adapter: qlora or lora");
  if (adapter != "qlora" && !load_in_8bit && quant_modules.empty())
    for (const char* key : {"quant.type", "quant.double_quant", "quant.block_size"})
      if (s.given(key))
        s.error(s.where(key), cat("'", key, "' has no meaning with adapter: ", adapter),
                full() ? "remove it, or use adapter: qlora"
                       : "use adapter: qlora, say load_in_8bit: true, or remove it");
  if (llm_int8_has_fp16_weight)
    s.error(s.where("llm_int8_has_fp16_weight"),
            "llm_int8_has_fp16_weight: true trains 16-bit weights beside the codes",
            "use adapter: full for that, or set it to false");
  if ((quant.block & (quant.block - 1)) != 0)
    s.error(s.where("quant.block_size"),
            cat("quant.block_size must be a power of two, got ", quant.block), "use 64");
}

QuantPlan Recipe::quant_plan() const {
  QuantPlan plan;
  if (full()) return plan;
  if (adapter == "qlora" || load_in_8bit) {
    plan.linears = quant;
    if (load_in_8bit) plan.linears->format = Format::int8;
  }
  plan.modules = quant_modules;
  plan.skip = quant_skip;
  if (gives("quant.threshold")) plan.threshold = llm_int8_threshold;
  const auto complete = [&](std::optional<QuantSpec>& spec) {
    if (spec && rule_of(spec->format).rows && !spec->outlier_threshold)
      spec->outlier_threshold = llm_int8_threshold;
  };
  complete(plan.linears);
  for (QuantRule& rule : plan.modules) complete(rule.spec);
  return plan;
}

QuantRecipe read_quant_recipe(const std::string& path) {
  Recipe recipe;
  Settings settings;
  recipe.declare(settings);
  for (Field* field : settings.fields()) field->is_required = false;
  settings.read_recipe(path);
  recipe.quant_contradictions(settings);
  settings.finish();
  for (const Field* field : settings.fields())
    if (field->given) recipe.given.push_back(field->name);
  recipe.quant.format = *format_named(recipe.quant_type);
  return {recipe.quant_plan(), recipe.gives("quant.storage") ? recipe.quant_storage : ""};
}

}  // namespace nibble
