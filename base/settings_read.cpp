// From a recipe, the environment and the command line to the rows. Every key finds its row, or a
// mistake that says what was meant; nothing stops at the first one.
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <tuple>
#include <utility>

#include "base/settings.h"
#include "base/settings_rows.h"
#include "base/text.h"

namespace nibble {
namespace {

std::string leaf_of(std::string_view path) {
  const size_t dot = path.rfind('.');
  return std::string(dot == std::string_view::npos ? path : path.substr(dot + 1));
}

std::string parent_of(std::string_view path) {
  const size_t dot = path.rfind('.');
  return std::string(dot == std::string_view::npos ? std::string_view() : path.substr(0, dot));
}

std::string environment_name(std::string_view name) {
  std::string out = "NIBBLE_";
  for (const char c : name) {
    out.push_back(c == '.' || c == '-'   ? '_'
                  : c >= 'a' && c <= 'z' ? static_cast<char>(c - 32)
                                         : c);
  }
  return out;
}

std::string text_of(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::list) return node.scalar;
  std::vector<std::string> items;
  for (const YamlNode& item : node.items) items.push_back(text_of(item));
  return cat("[", join(items, ", "), "]");
}

// What is wrong with a value beyond its type, and the cure.
struct Complaint {
  std::string what, hint;
};

std::optional<Complaint> choice_complaint(const Field& field, const std::string& value) {
  for (const auto& [refused, why] : field.refused) {
    if (value == refused) return Complaint{cat("'", value, "' is not supported yet"), why};
  }
  if (field.allowed.empty() ||
      std::find(field.allowed.begin(), field.allowed.end(), value) != field.allowed.end()) {
    return std::nullopt;
  }
  std::vector<std::string> known = field.allowed;
  for (const auto& entry : field.refused) known.push_back(entry.first);
  const std::string near = nearest(value, known);
  return Complaint{cat("must be one of ", join(field.allowed, ", "), "; got '", value, "'"),
                   near.empty() ? "" : cat("did you mean '", near, "'?")};
}

std::string type_hint(const Field& field, const YamlNode& node) {
  if (node.kind != YamlNode::Kind::scalar) return "";
  if (field.is_bool) {
    for (const char* word : {"yes", "Yes", "on", "On", "1", "y"}) {
      if (node.scalar == word) return "write true";
    }
    for (const char* word : {"no", "No", "off", "Off", "0", "n"}) {
      if (node.scalar == word) return "write false";
    }
    return "";
  }
  if (node.quoted && !field.is_text) return "remove the quotes";
  if (node.scalar.find('_') != std::string::npos) return "write it without underscores";
  return "";
}

std::optional<Complaint> value_complaint(const Field& field, const YamlNode& node) {
  if (node.kind == YamlNode::Kind::scalar) {
    if (auto bad = choice_complaint(field, node.scalar)) return bad;
  }
  for (const YamlNode& item : node.items) {
    if (auto bad = choice_complaint(field, item.scalar)) return bad;
  }
  if (const auto wrong = field.set(node)) return Complaint{*wrong, type_hint(field, node)};
  if (field.number) {
    if (const auto value = field.number()) {
      const std::string outside = range_complaint(field.limits, *value);
      if (!outside.empty()) return Complaint{cat(outside, ", got ", node.scalar), ""};
    }
  }
  return std::nullopt;
}

// --adapter a --adapter b
YamlNode joined_lists(const YamlNode& a, const YamlNode& b) {
  YamlNode both;
  both.kind = YamlNode::Kind::list;
  both.where = b.where;
  const auto add = [&](const YamlNode& part) {
    if (part.kind == YamlNode::Kind::scalar) both.items.push_back(part);
    both.items.insert(both.items.end(), part.items.begin(), part.items.end());
  };
  add(a);
  add(b);
  return both;
}

std::string two_values(const Field& first, const Field& second) {
  if (first.given_as == second.given_as) {
    return cat("'", second.given_as, "' is given twice: ", first.given_value, " and ",
               second.given_value);
  }
  return cat("'", second.given_as, "' is ", second.given_value, ", but '", first.given_as, "' is ",
             first.given_value, " at ", first.given_where.str(), "; both name the same setting");
}

YamlNode scalar_node(std::string_view text, const Where& where) {
  YamlNode node;
  node.kind = YamlNode::Kind::scalar;
  node.scalar = text;
  node.where = where;
  return node;
}

}  // namespace

// One value for one row. A weaker source never overwrites a stronger one; an equal one may only
// repeat it.
void Settings::apply(std::string_view path, const YamlNode& key, const YamlNode& value, int rank) {
  Impl::Row& row = *impl_->find(path);
  Field& f = row.field;
  if (rank < f.given_rank) return;
  // An empty value says "the default" where there is one to speak of.
  const bool optional = f.is_list || row.custom_read != nullptr || f.default_text == "null";
  if (value.kind == YamlNode::Kind::null && optional) return;

  const bool repeated = rank == f.given_rank;
  const bool grows = repeated && rank == kFromFlag && f.is_list;
  const Field first = f;
  const std::string before = f.dump();
  if (!repeated) row.mistakes.clear();
  const bool first_was_good = row.mistakes.empty();
  row.node = grows ? joined_lists(row.node, value) : value;
  f.given = true;
  f.given_rank = rank;
  f.given_where = value.where.file.empty() ? key.where : value.where;
  f.given_as = std::string(path);
  f.given_value = text_of(row.node);
  if (row.custom_read != nullptr) {
    // Its mistakes belong to this value: a stronger source takes them away with it.
    std::vector<UserError> others = std::exchange(impl_->mistakes, {});
    row.custom_read(row.node, *this);
    std::swap(others, impl_->mistakes);
    row.mistakes.insert(row.mistakes.end(), others.begin(), others.end());
  } else if (const auto bad = value_complaint(f, row.node)) {
    row.mistakes.emplace_back(f.given_where, cat(f.given_as, " ", bad->what), bad->hint);
    return;
  }
  if (repeated && !grows && first_was_good && f.dump() != before) {
    row.mistakes.emplace_back(key.where, two_values(first, f), "keep one");
  }
}

void Settings::unknown_key(const std::string& path, const Where& where) {
  const std::string leaf = leaf_of(path), parent = parent_of(path);
  const std::string place = parent.empty() ? "" : cat(" under '", parent, "'");
  // The right word in the wrong place.
  std::vector<std::string> homes;
  for (const std::string& name : names()) {
    if (name != path && leaf_of(name) == leaf) homes.push_back(name);
  }
  if (homes.size() == 1 && impl_->find(homes[0])->field.name == homes[0]) {
    const std::string home = parent_of(homes[0]);
    if (home.empty()) {
      error(where, cat("'", leaf, "' belongs at the top level, not under '", parent, "'"),
            "move it out");
    } else {
      error(where, cat("'", leaf, "' belongs under '", home, "'"),
            cat("write ", home, ": {", leaf, ": …}"));
    }
    return;
  }
  std::string near;
  if (!parent.empty()) near = nearest(leaf, impl_->children(parent));
  if (near.empty()) {
    std::vector<std::string> known = names();
    for (const Field* field : impl_->fields) known.push_back(parent_of(field->name));
    for (const auto& entry : impl_->refused) known.push_back(entry.first);
    near = nearest(path, known);
  }
  std::string hint = near.empty() ? "" : cat("did you mean '", near, "'?");
  if (hint.empty() && impl_->is_parent(parent)) {
    hint = cat("'", parent, "' takes ", join(impl_->children(parent), ", "));
  }
  error(where, cat("unknown key '", leaf, "'", place), hint);
}

void Settings::walk(const std::string& path, const YamlNode& key, const YamlNode& value, int rank) {
  const bool map = value.kind == YamlNode::Kind::map;
  const bool parent = impl_->is_parent(path);
  if (impl_->find(path) != nullptr && !(map && parent)) {
    apply(path, key, value, rank);
  } else if (const std::string* why = impl_->refusal(path)) {
    error(key.where, cat("'", path, "' is not supported yet"), *why);
  } else if (!parent) {
    unknown_key(path, key.where);
  } else if (map) {
    for (const auto& [child, node] : value.entries) {
      walk(cat(path, ".", child.scalar), child, node, rank);
    }
  } else if (value.kind != YamlNode::Kind::null) {
    error(value.where, cat("'", path, "' takes a map, got '", text_of(value), "'"),
          cat("it holds ", join(impl_->children(path), ", ")));
  }
}

void Settings::read(const YamlNode& document) {
  impl_->document = document.where.file;
  impl_->saw(document.where.file);
  if (document.kind == YamlNode::Kind::null) return;
  if (document.kind != YamlNode::Kind::map) {
    error(document.where, "is no recipe: it must be a map of keys and values",
          "write one 'key: value' on each line");
    return;
  }
  for (const auto& [key, value] : document.entries) walk(key.scalar, key, value, kFromRecipe);
}

void Settings::read_recipe(const std::string& path) {
  std::vector<UserError> found;
  const YamlNode document = read_yaml(path, &found);
  read(document);
  for (UserError& mistake : found) impl_->mistakes.push_back(std::move(mistake));
}

void Settings::assign_ranked(const std::string& path, std::string_view value, const Where& where,
                             int rank) {
  impl_->saw(where.file);
  YamlNode key = scalar_node(path, where), node = scalar_node(value, where);
  const Impl::Row* row = impl_->find(path);
  const std::string_view trimmed = trim(value);
  // A TEXT of the command line is itself, whatever it spells.
  const bool verbatim = row != nullptr && row->field.placeholder_text == "TEXT";
  const bool brackets = starts_with(trimmed, "[") || starts_with(trimmed, "{");
  const bool structured = row == nullptr
                              ? impl_->is_parent(path)
                              : row->custom_read != nullptr || (row->field.is_list && brackets);
  if (structured) {
    try {
      node = parse_yaml(value, where.str().empty() ? path : where.str());
    } catch (const UserErrors& errors) {
      for (const UserError& mistake : errors.all()) {
        error(where, cat(path, ": ", mistake.message()), mistake.hint());
      }
      return;
    }
  } else if ((value == "null" && !verbatim) ||
             (value.empty() && !(row != nullptr && row->field.is_text))) {
    node.kind = YamlNode::Kind::null;
  }
  walk(path, key, node, rank);
}

void Settings::assign(std::string_view key, std::string_view value, Where where) {
  std::string path(key);
  if (impl_->find(path) == nullptr) std::replace(path.begin(), path.end(), '-', '_');
  if (where.file.empty()) where.file = cat(key, "=", value);
  assign_ranked(path, value, where, kFromFlag);
}

void Settings::read_environment() {
  for (const std::string& name : names()) {
    const std::string variable = environment_name(name);
    const char* value = std::getenv(variable.c_str());
    if (value == nullptr || *value == 0) continue;
    assign_ranked(name, value, Where{variable, 0, 0, "", 1}, kFromEnvironment);
  }
}

void Settings::finish() {
  std::vector<UserError> all = std::move(impl_->mistakes);
  impl_->mistakes.clear();
  for (const auto& row : impl_->rows) {
    all.insert(all.end(), row->mistakes.begin(), row->mistakes.end());
    if (row->field.is_required && !row->field.given) {
      all.emplace_back(Where{impl_->document, 0, 0, "", 1},
                       cat("'", row->field.name, "' is missing"), row->field.help);
    }
  }
  if (all.empty()) return;
  const auto rank = [this](const UserError& error) {
    const Where& where = error.where();
    const auto file = std::find(impl_->files.begin(), impl_->files.end(), where.file);
    // What has no line, as a missing key, comes after what stands on one.
    const int line = where.line > 0 ? where.line : std::numeric_limits<int>::max();
    return std::make_tuple(file - impl_->files.begin(), line, where.column);
  };
  std::stable_sort(all.begin(), all.end(),
                   [&](const UserError& a, const UserError& b) { return rank(a) < rank(b); });
  throw UserErrors(std::move(all));
}

}  // namespace nibble
