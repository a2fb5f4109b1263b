// Tables of keys and members: reading, writing and "did you mean" walk the same rows.
#include "trainer/optimizer_keys.h"

#include <cctype>
#include <cmath>

namespace nibble {
namespace {

struct NumberKey {
  const char* name;
  std::optional<double> RuleOptions::*member;
};
const NumberKey kNumbers[] = {
    {"beta1", &RuleOptions::beta1},
    {"beta2", &RuleOptions::beta2},
    {"beta3", &RuleOptions::beta3},
    {"eps", &RuleOptions::eps},
    {"momentum", &RuleOptions::momentum},
    {"dampening", &RuleOptions::dampening},
    {"alpha", &RuleOptions::alpha},
    {"t_alpha", &RuleOptions::t_alpha},
    {"t_beta3", &RuleOptions::t_beta3},
    {"lr_decay", &RuleOptions::lr_decay},
    {"initial_accumulator_value", &RuleOptions::initial_accumulator_value},
    {"max_unorm", &RuleOptions::max_unorm},
    {"trust_coefficient", &RuleOptions::trust_coefficient}};

struct SwitchKey {
  const char* name;
  std::optional<bool> RuleOptions::*member;
};
const SwitchKey kSwitches[] = {{"nesterov", &RuleOptions::nesterov},
                               {"centered", &RuleOptions::centered}};

std::vector<std::string> argument_names() {
  std::vector<std::string> all;
  for (const NumberKey& k : kNumbers) all.emplace_back(k.name);
  for (const SwitchKey& k : kSwitches) all.emplace_back(k.name);
  return all;
}

std::string or_nearest(const std::string& word, const std::vector<std::string>& known,
                       const char* otherwise) {
  const std::string close = nearest(word, known);
  return close.empty() ? cat(otherwise, join(known, ", ")) : cat("did you mean '", close, "'?");
}

// What is wrong with the value, or nothing.
std::optional<std::string> set_argument(const std::string& key, const YamlNode& value,
                                        RuleOptions& options) {
  for (const NumberKey& k : kNumbers) {
    if (key != k.name) continue;
    double number = 0;
    auto wrong = read_double(value, number);
    if (!wrong && !(std::isfinite(number) && number >= 0))
      wrong = cat("must be a number of at least 0, got ", value.scalar);
    if (!wrong) options.*k.member = number;
    return wrong;
  }
  for (const SwitchKey& k : kSwitches) {
    if (key != k.name) continue;
    bool on = false;
    // transformers writes Python's words into its text.
    YamlNode word = value;
    if (word.scalar == "True") word.scalar = "true";
    if (word.scalar == "False") word.scalar = "false";
    auto wrong = read_bool(word, on);
    if (!wrong) options.*k.member = on;
    return wrong;
  }
  check(false, "an optimizer argument that is in the table");
  return std::nullopt;
}

void read_argument(const std::string& key, const Where& where, const YamlNode& value, Settings& s,
                   RuleOptions& options, std::map<std::string, Where>& places) {
  const std::vector<std::string> known = argument_names();
  bool found = false;
  for (const std::string& name : known) found = found || name == key;
  if (!found) {
    s.error(where, cat("optim_args: '", key, "' is no argument of an optimizer"),
            or_nearest(key, known, "they are "));
    return;
  }
  if (!places.emplace(key, value.where).second) {
    s.error(where, cat("optim_args: '", key, "' is there twice"), "keep one");
    return;
  }
  if (auto wrong = set_argument(key, value, options))
    s.error(value.where, cat("optim_args: ", key, " ", *wrong));
}

void read_override_field(const YamlNode& key, const YamlNode& value, Settings& s,
                         PlacedOverride& into) {
  const std::string& name = key.scalar;
  std::optional<std::string> wrong;
  double number = 0;
  int64_t whole = 0;
  const auto within = [&](double low, double high) {
    if (!wrong && !(number >= low && number <= high))
      wrong = cat("must be from ", low, " to ", high, ", got ", value.scalar);
  };
  if (name == "match") {
    wrong = read_string(value, into.match);
  } else if (name == "bits") {
    wrong = read_int(value, whole);
    if (!wrong && whole != 32 && whole != 8) wrong = cat("must be 32 or 8, got ", whole);
    into.bits = static_cast<int>(whole);
  } else if (name == "block_size") {
    wrong = read_int(value, whole);
    if (!wrong && (whole < 64 || whole > 4096 || (whole & (whole - 1)) != 0))
      wrong = cat("must be a power of two from 64 to 4096, got ", whole);
    into.block = whole;
  } else if (name == "min_8bit_size") {
    wrong = read_int(value, whole);
    if (!wrong && whole < 0) wrong = cat("must be at least 0, got ", whole);
    into.min_elements = whole;
  } else if (name == "lr" || name == "learning_rate") {
    wrong = read_double(value, number), within(0, 10);
    into.lr = number;
  } else if (name == "weight_decay") {
    wrong = read_double(value, number), within(0, 10);
    into.weight_decay = number;
  } else {
    s.error(key.where, cat("optimizer_overrides: '", name, "' is nothing to override"),
            or_nearest(name, {"match", "bits", "lr", "weight_decay", "block_size", "min_8bit_size"},
                       "an entry has "));
  }
  if (wrong) s.error(value.where, cat("optimizer_overrides: ", name, " ", *wrong));
}

template <class T>
void append_field(std::string& out, const char* name, const std::optional<T>& value) {
  if (value) out += cat(", ", name, ": ", *value);
}

}  // namespace

void read_optim_args(const YamlNode& node, Settings& s, RuleOptions& options,
                     std::map<std::string, Where>& places) {
  options = {};
  places.clear();
  if (node.kind == YamlNode::Kind::null) return;
  if (node.kind == YamlNode::Kind::map) {
    for (const auto& [key, value] : node.entries)
      read_argument(key.scalar, key.where, value, s, options, places);
    return;
  }
  if (node.kind != YamlNode::Kind::scalar) {
    s.error(node.where, "'optim_args' takes a map", "optim_args: {momentum: 0.9}");
    return;
  }
  for (const std::string& part : split(node.scalar, ',')) {
    if (trim(part).empty()) continue;
    const size_t equals = part.find('=');
    if (equals == std::string::npos) {
      s.error(node.where, cat("optim_args: '", trim(part), "' has no value"),
              "optim_args: \"momentum=0.9,nesterov=true\"");
      continue;
    }
    YamlNode value;
    value.kind = YamlNode::Kind::scalar;
    value.scalar = std::string(trim(part.substr(equals + 1)));
    value.where = node.where;
    read_argument(std::string(trim(part.substr(0, equals))), node.where, value, s, options, places);
  }
}

std::string optim_args_text(const RuleOptions& options) {
  std::string out;
  for (const NumberKey& k : kNumbers) append_field(out, k.name, options.*k.member);
  for (const SwitchKey& k : kSwitches) append_field(out, k.name, options.*k.member);
  return cat("{", out.empty() ? "" : out.substr(2), "}");
}

void read_overrides(const YamlNode& node, Settings& s, std::vector<PlacedOverride>& overrides) {
  overrides.clear();
  if (node.kind == YamlNode::Kind::null) return;
  constexpr char kShape[] = "optimizer_overrides: [{match: embed_tokens, bits: 32}]";
  if (node.kind != YamlNode::Kind::list) {
    s.error(node.where, "'optimizer_overrides' takes a list", kShape);
    return;
  }
  for (const YamlNode& item : node.items) {
    PlacedOverride entry;
    entry.where = item.where;
    if (item.kind != YamlNode::Kind::map) {
      s.error(item.where, "an optimizer override must be a map", kShape);
      continue;
    }
    for (const auto& [key, value] : item.entries) {
      if (key.scalar == "match") entry.where = value.where;
      read_override_field(key, value, s, entry);
    }
    if (entry.match.empty()) {
      s.error(item.where, "an optimizer override has no match", kShape);
    } else if (item.entries.size() == 1) {
      s.error(item.where, cat("the override of '", entry.match, "' changes nothing"),
              "give it bits, lr, weight_decay, block_size or min_8bit_size");
    }
    overrides.push_back(std::move(entry));
  }
}

std::string overrides_text(const std::vector<PlacedOverride>& overrides) {
  std::vector<std::string> entries;
  for (const PlacedOverride& o : overrides) {
    std::string entry = cat("{match: ", yaml_scalar(o.match));
    append_field(entry, "bits", o.bits);
    append_field(entry, "lr", o.lr);
    append_field(entry, "weight_decay", o.weight_decay);
    append_field(entry, "block_size", o.block);
    append_field(entry, "min_8bit_size", o.min_elements);
    entries.push_back(entry + "}");
  }
  return cat("[", join(entries, ", "), "]");
}

std::optional<int64_t> bytes_of(std::string_view text) {
  size_t end = 0;
  while (end < text.size() &&
         (std::isdigit(static_cast<unsigned char>(text[end])) != 0 || text[end] == '.'))
    ++end;
  static const std::pair<const char*, double> kUnits[] = {
      {"", 1},     {"B", 1},    {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
      {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
  YamlNode number;
  number.kind = YamlNode::Kind::scalar;
  number.scalar = std::string(text.substr(0, end));
  double value = 0;
  if (end == 0 || read_double(number, value)) return std::nullopt;
  for (const auto& [unit, factor] : kUnits)
    if (trim(text.substr(end)) == unit && value * factor < 0x1p62)
      return static_cast<int64_t>(value * factor);
  return std::nullopt;
}

}  // namespace nibble
