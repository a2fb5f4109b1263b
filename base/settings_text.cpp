// The same rows as help for a person and as a recipe that reads back to the same values.
#include <algorithm>

#include "base/settings.h"
#include "base/settings_rows.h"
#include "base/text.h"

namespace nibble {
namespace {

constexpr size_t kWidth = 80;
constexpr size_t kColumn = 30;  // where explanations begin

size_t width_of(std::string_view text) {
  size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

// Words of `text` in lines that begin at kColumn and end before kWidth.
std::string wrapped(std::string_view text, size_t already) {
  std::string out;
  size_t at = already;
  const auto new_line = [&] {
    out += cat("\n", std::string(kColumn, ' '));
    at = kColumn;
  };
  if (at + 1 > kColumn) {
    new_line();
  } else {
    out.append(kColumn - at, ' ');
    at = kColumn;
  }
  bool first = true;
  for (const std::string& word : split(text, ' ')) {
    if (!first && at + 1 + width_of(word) > kWidth) {
      new_line();
      first = true;
    }
    if (!first) out.push_back(' ');
    at += width_of(word) + (first ? 0 : 1);
    out += word;
    first = false;
  }
  return out;
}

std::string details(const Field& field) {
  std::vector<std::string> parts;
  if (!field.allowed.empty()) parts.push_back(cat("one of ", join(field.allowed, ", ")));
  const std::string range = range_text(field.limits);
  if (!range.empty()) parts.push_back(range);
  if (field.is_required) parts.push_back("required");
  const std::string& value = field.default_text;
  const bool says_nothing = value.empty() || value == "null" || value == "\"\"" || value == "[]";
  if (!field.is_required && !says_nothing && value.size() <= 60) {
    parts.push_back(cat("default ", value));
  }
  if (!field.aliases.empty()) parts.push_back(cat("also ", join(field.aliases, ", ")));
  return parts.empty() ? "" : cat(" (", join(parts, "; "), ")");
}

std::string spelled(std::string name, std::string_view prefix) {
  if (prefix == "--") std::replace(name.begin(), name.end(), '_', '-');
  return cat(prefix, name);
}

// Rows below one parent, as a tree in the order of declaration.
void dump_rows(std::string& out, const std::vector<const Field*>& fields, size_t depth) {
  const auto part = [&](const Field* f) { return split(f->name, '.')[depth]; };
  std::vector<std::string> done;
  for (const Field* field : fields) {
    const std::string name = part(field);
    if (std::find(done.begin(), done.end(), name) != done.end()) continue;
    const std::string indent(2 * depth, ' ');
    if (split(field->name, '.').size() == depth + 1) {
      out += cat(indent, name, ": ", field->dump(), "\n");
      continue;
    }
    done.push_back(name);
    std::vector<const Field*> below;
    for (const Field* other : fields) {
      if (split(other->name, '.').size() > depth + 1 && part(other) == name) below.push_back(other);
    }
    out += cat(indent, name, ":\n");
    dump_rows(out, below, depth + 1);
  }
}

}  // namespace

std::string Settings::help(std::string_view prefix) const {
  std::string out, heading;
  for (const auto& row : impl_->rows) {
    if (row->heading != heading || out.empty()) {
      if (!out.empty()) out += "\n";
      heading = row->heading;
      if (!heading.empty()) out += cat(heading, "\n");
    }
    const Field& field = row->field;
    std::string line = cat("  ", spelled(field.name, prefix));
    if (!field.placeholder_text.empty()) line += cat(" ", field.placeholder_text);
    out += cat(line, wrapped(cat(field.help, details(field)), width_of(line)), "\n");
  }
  return out;
}

std::string Settings::dump() const {
  // A map may be written only once, so its rows follow the first of them whatever their heading.
  std::string out, heading;
  std::vector<std::string> done;
  for (const auto& row : impl_->rows) {
    const std::string top = split(row->field.name, '.')[0];
    if (std::find(done.begin(), done.end(), top) != done.end()) continue;
    done.push_back(top);
    if (row->heading != heading) {
      heading = row->heading;
      if (!out.empty()) out += "\n";
      out += cat("# ", heading, "\n");
    }
    std::vector<const Field*> group;
    for (const auto& other : impl_->rows) {
      if (split(other->field.name, '.')[0] == top) group.push_back(&other->field);
    }
    dump_rows(out, group, 0);
  }
  return out;
}

}  // namespace nibble
