#include "quant/plan.h"

#include <algorithm>
#include <regex>

#include "base/text.h"

namespace nibble {
namespace {

// Linear in the text for each star: the last star takes what is left over.
bool glob(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// transformers' should_convert_module, turned round.
bool skipped_by(const std::string& key, const std::string& path) {
  if (ends_with(path, key)) return true;
  if (starts_with(path, key) && (path[key.size()] == '.' || ends_with(key, "."))) return true;
  try {
    return std::regex_search(path, std::regex("^(?:" + key + ")(?=\\.|$)"));
  } catch (const std::regex_error&) {
    return false;  // no regex: a name, and not this one's
  }
}

}  // namespace

bool QuantRule::matches(std::string_view path) const {
  for (size_t from = 0;;) {
    if (glob(match, path.substr(from))) return true;
    const size_t dot = path.find('.', from);
    if (dot == std::string_view::npos) return false;
    from = dot + 1;
  }
}

const QuantRule* QuantPlan::rule_for(std::string_view path) const {
  for (const QuantRule& rule : modules)
    if (rule.matches(path)) return &rule;
  return nullptr;
}

bool QuantPlan::skips(std::string_view path) const {
  if (!skip) return false;
  const std::string text(path);
  return std::any_of(skip->begin(), skip->end(),
                     [&](const std::string& key) { return !key.empty() && skipped_by(key, text); });
}

std::optional<QuantSpec> QuantPlan::spec_for(std::string_view path, Part part) const {
  if (const QuantRule* rule = rule_for(path)) return rule->spec;
  if (skips(path) || part == Part::embedding) return std::nullopt;
  if (part == Part::head && !skip) return std::nullopt;
  return linears;
}

void QuantPlan::check_matches(const std::vector<std::string>& paths) const {
  std::vector<UserError> all;
  for (const QuantRule& rule : modules) {
    const bool any = std::any_of(paths.begin(), paths.end(),
                                 [&](const std::string& path) { return rule.matches(path); });
    if (any) continue;
    std::vector<std::string> names;  // "model.layers.*.mlp.down_proj", once for all layers
    for (const std::string& path : paths) {
      std::vector<std::string> parts = split(path, '.');
      for (std::string& part : parts)
        if (!part.empty() && part.find_first_not_of("0123456789") == std::string::npos) part = "*";
      const std::string name = join(parts, ".");
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    const std::string close = nearest(rule.match, names);
    all.emplace_back(rule.where, cat("quant.modules: '", rule.match, "' matches no module"),
                     close.empty()
                         ? cat("modules are ", join(names, ", "))
                         : cat("did you mean '", close, "'? Modules are ", join(names, ", ")));
  }
  if (all.size() == 1) throw all[0];
  if (!all.empty()) throw UserErrors(std::move(all));
}

std::string words_of(const QuantSpec& spec) {
  const FormatRule& rule = rule_of(spec.format);
  std::string text = rule.name;
  if (rule.coded)
    text += cat(" blocks of ", spec.block, spec.double_quant ? ", nested scales" : "");
  if (rule.rows && spec.outlier_threshold)
    text += *spec.outlier_threshold > 0 ? cat(", outliers from ", *spec.outlier_threshold)
                                        : std::string(", no outliers");
  return text;
}

QuantSpec spec_of(const Weight& w) {
  QuantSpec spec;
  spec.format = w.format;
  spec.block = w.block;
  spec.double_quant = w.nested.has_value();
  spec.outlier_threshold = w.outlier_threshold;
  return spec;
}

}  // namespace nibble
