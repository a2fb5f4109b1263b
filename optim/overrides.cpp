// Fields are settled one by one: the first override that matches and names a field decides it.
#include "optim/overrides.h"

#include <algorithm>
#include <cctype>
#include <regex>
#include <set>

namespace nibble {
namespace {

// The dotted parts of all names: what a pattern is made of.
std::vector<std::string> parts_of(const std::vector<Parameter*>& parameters) {
  std::set<std::string> all;
  for (const Parameter* p : parameters)
    for (std::string& part : split(p->name, '.')) all.insert(std::move(part));
  return {all.begin(), all.end()};
}

// For a pattern that matches nothing: the part of a name that one of its words is near to, or a few
// names.
std::string near_names(const std::string& pattern, const std::vector<Parameter*>& parameters) {
  const std::vector<std::string> parts = parts_of(parameters);
  std::string word;
  for (const char c : pattern + ".") {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_') {
      word += c;
      continue;
    }
    const bool known = std::find(parts.begin(), parts.end(), word) != parts.end();
    const std::string close = word.size() < 3 || known ? "" : nearest(word, parts);
    if (!close.empty()) return cat("did you mean '", close, "'?");
    word.clear();
  }
  std::vector<std::string> some;
  for (size_t i = 0; i < parameters.size() && i < 3; ++i) some.push_back(parameters[i]->name);
  return cat("trained are ", join(some, ", "), parameters.size() > 3 ? ", …" : "");
}

template <class T>
void settle(std::optional<T>& field, const std::optional<T>& value) {
  if (!field) field = value;
}

// The fields that some override settles for this name; `used` marks the overrides that match.
OptimizerOverride overrides_of(const std::string& name, const std::vector<PlacedOverride>& all,
                               const std::vector<std::regex>& patterns, std::vector<bool>& used) {
  OptimizerOverride sum;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!std::regex_search(name, patterns[i])) continue;
    used[i] = true;
    settle(sum.bits, all[i].bits);
    settle(sum.block, all[i].block);
    settle(sum.min_elements, all[i].min_elements);
    settle(sum.lr, all[i].lr);
    settle(sum.weight_decay, all[i].weight_decay);
  }
  return sum;
}

std::vector<std::regex> compile(const std::vector<PlacedOverride>& overrides) {
  std::vector<std::regex> patterns;
  std::vector<UserError> wrong;
  for (const PlacedOverride& o : overrides) {
    try {
      patterns.emplace_back(o.match, std::regex::ECMAScript);
    } catch (const std::regex_error& e) {
      wrong.emplace_back(o.where, cat("'", o.match, "' is no regular expression: ", e.what()),
                         "a dot matches any character, \\. a dot");
    }
  }
  if (!wrong.empty()) throw UserErrors(std::move(wrong));
  return patterns;
}

ParameterSettings settings_of(const SettingsPlan& plan, const Parameter& p, bool embedding,
                              const OptimizerOverride& o) {
  ParameterSettings s;
  s.state = plan.state;
  s.state.bits = o.bits.value_or(embedding ? 32 : plan.state.bits);
  s.state.block = o.block.value_or(plan.state.block);
  s.state.min_elements = o.min_elements.value_or(plan.state.min_elements);
  s.weight_decay = o.weight_decay.value_or(p.decays ? plan.weight_decay : 0);
  double rate = plan.learning_rate;
  if (plan.loraplus_ratio && ends_with(p.name, ".lora_B.weight")) rate *= *plan.loraplus_ratio;
  if (embedding && plan.embedding_rate) rate = *plan.embedding_rate;
  rate = o.lr.value_or(rate);
  if (rate != plan.learning_rate) {
    check(plan.learning_rate > 0, "a rate of its own beside a learning rate of 0");
    s.lr_factor = rate / plan.learning_rate;
  }
  return s;
}

}  // namespace

std::vector<TrainedParameter> resolve(const SettingsPlan& plan,
                                      const std::vector<Parameter*>& parameters,
                                      const std::function<bool(const Parameter&)>& is_embedding) {
  const std::vector<std::regex> patterns = compile(plan.overrides);
  std::vector<bool> used(patterns.size());
  std::vector<TrainedParameter> all;
  for (Parameter* p : parameters) {
    const OptimizerOverride o = overrides_of(p->name, plan.overrides, patterns, used);
    all.push_back({p, settings_of(plan, *p, is_embedding(*p), o)});
  }
  std::vector<UserError> unused;
  for (size_t i = 0; i < used.size(); ++i)
    if (!used[i])
      unused.emplace_back(
          plan.overrides[i].where,
          cat("optimizer_overrides: '", plan.overrides[i].match, "' matches no trained parameter"),
          near_names(plan.overrides[i].match, parameters));
  if (!unused.empty()) throw UserErrors(std::move(unused));
  return all;
}

}  // namespace nibble
