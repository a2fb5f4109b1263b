#include "quant/plan_settings.h"

#include <algorithm>

#include "base/text.h"

namespace nibble {
namespace {

const char* const kExample = "{match: lm_head, type: int8}";

void read_type(const YamlNode& node, Settings& s, QuantRule& rule) {
  std::string type;
  if (auto wrong = read_string(node, type)) {
    s.error(node.where, cat("quant.modules: type ", *wrong));
    return;
  }
  if (type == "none") return;
  if (type == "bfloat16") type = "bf16";
  if (type == "float16") type = "f16";
  if (type == "float32") type = "f32";
  std::vector<std::string> names = quant_type_names();
  names.emplace_back("none");
  if (std::find(names.begin(), names.end(), type) == names.end()) {
    const std::string close = nearest(type, names);
    s.error(node.where, cat("quant.modules: '", type, "' is no format"),
            close.empty() ? cat("formats are ", join(names, ", "))
                          : cat("did you mean '", close, "'?"));
    return;
  }
  rule.spec.emplace();
  rule.spec->format = *format_named(type);
}

void read_block(const YamlNode& node, Settings& s, int64_t& block) {
  const auto wrong = read_int(node, block);
  if (wrong) s.error(node.where, cat("quant.modules: block_size ", *wrong));
  if (wrong || (block >= 32 && block <= 4096 && (block & (block - 1)) == 0)) return;
  s.error(node.where,
          cat("quant.modules: block_size must be a power of two from 32 to 4096, got ", block),
          "use 64");
}

void read_rule(const YamlNode& node, Settings& s, std::vector<QuantRule>& rules) {
  if (node.kind != YamlNode::Kind::map) {
    s.error(node.where, "quant.modules: a rule must be a map", kExample);
    return;
  }
  QuantRule rule;
  rule.where = node.where;
  QuantSpec spec;
  const YamlNode* type = nullptr;
  for (const auto& [key, value] : node.entries) {
    std::optional<std::string> wrong;
    if (key.scalar == "match") {
      wrong = read_string(value, rule.match);
    } else if (key.scalar == "type") {
      type = &value;
    } else if (key.scalar == "block_size" || key.scalar == "block") {
      read_block(value, s, spec.block);
    } else if (key.scalar == "double_quant" || key.scalar == "double") {
      wrong = read_bool(value, spec.double_quant);
    } else if (key.scalar == "threshold") {
      spec.outlier_threshold.emplace();
      wrong = read_double(value, *spec.outlier_threshold);
      if (!wrong && *spec.outlier_threshold < 0)
        wrong = cat("must be at least 0, got ", *spec.outlier_threshold);
    } else {
      const std::string close =
          nearest(key.scalar, {"match", "type", "block_size", "double_quant", "threshold"});
      s.error(key.where, cat("quant.modules: unknown key '", key.scalar, "'"),
              close.empty() ? "a rule has match, type, block_size, double_quant and threshold"
                            : cat("did you mean '", close, "'?"));
    }
    if (wrong) s.error(value.where, cat("quant.modules: ", key.scalar, " ", *wrong));
  }
  if (rule.match.empty()) s.error(node.where, "quant.modules: a rule has no match", kExample);
  if (type == nullptr) {
    s.error(node.where, "quant.modules: a rule has no type", kExample);
  } else {
    read_type(*type, s, rule);
  }
  if (rule.spec) {
    spec.format = rule.spec->format;
    if (spec.outlier_threshold && !rule_of(spec.format).rows)
      s.error(node.where,
              cat("quant.modules: threshold has no meaning with ", name_of(spec.format)),
              "it is for int8");
    rule.spec = spec;
  }
  rules.push_back(std::move(rule));
}

}  // namespace

std::vector<std::string> quant_type_names() {
  std::vector<std::string> names;
  for (const std::string& name : format_names()) {
    const auto& blocks = rule_of(*format_named(name)).blocks;
    if (!blocks || blocks->encode != nullptr) names.push_back(name);
  }
  return names;
}

void read_quant_rules(const YamlNode& node, Settings& s, std::vector<QuantRule>& rules) {
  rules.clear();
  if (node.kind == YamlNode::Kind::null) return;
  if (node.kind != YamlNode::Kind::list) {
    s.error(node.where, "quant.modules must be a list of rules", cat("[", kExample, "]"));
    return;
  }
  for (const YamlNode& item : node.items) read_rule(item, s, rules);
}

std::string quant_rules_text(const std::vector<QuantRule>& rules) {
  std::string text = "[";
  for (const QuantRule& rule : rules) {
    text += cat(text.size() > 1 ? ", " : "", "{match: ", yaml_scalar(rule.match),
                ", type: ", rule.spec ? name_of(rule.spec->format) : "none");
    if (rule.spec && rule_of(rule.spec->format).coded)
      text += cat(", block_size: ", rule.spec->block, ", double_quant: ", rule.spec->double_quant);
    if (rule.spec && rule.spec->outlier_threshold)
      text += cat(", threshold: ", *rule.spec->outlier_threshold);
    text += "}";
  }
  return text + "]";
}

std::vector<QuantRule> parse_quant_rules(const std::string& text, const std::string& where) {
  Settings settings;
  std::vector<QuantRule> rules;
  read_quant_rules(parse_yaml(text, where), settings, rules);
  settings.finish();
  return rules;
}

}  // namespace nibble
