// Declaring the rows and reading a value into one: type, choices, range, precedence of sources.
#include "base/settings.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/settings_rows.h"
#include "base/text.h"

namespace nibble {
namespace {

std::string flow_list(const std::vector<std::string>& items) {
  std::vector<std::string> quoted;
  for (const std::string& item : items) quoted.push_back(yaml_scalar(item));
  return cat("[", join(quoted, ", "), "]");
}

// An empty value leaves an optional empty; anything else is read as T.
template <class T, class Read>
std::optional<std::string> set_optional(const YamlNode& node, std::optional<T>& value, Read read) {
  if (node.kind == YamlNode::Kind::null) {
    value.reset();
    return std::nullopt;
  }
  T got{};
  const auto wrong = read(node, got);
  if (!wrong) value = got;
  return wrong;
}

template <class T>
std::optional<double> number_of(const std::optional<T>& value) {
  return value ? std::optional<double>(static_cast<double>(*value)) : std::nullopt;
}

template <class T>
std::optional<std::string> set_real(const YamlNode& node, T& value) {
  double got = 0;
  const auto wrong = read_double(node, got);
  if (wrong) return wrong;
  if (std::abs(got) > static_cast<double>(std::numeric_limits<T>::max())) {
    return cat("must be a number that fits, got '", node.scalar, "'");
  }
  value = static_cast<T>(got);
  return std::nullopt;
}

std::optional<std::string> set_list(const YamlNode& node, std::vector<std::string>& value) {
  std::vector<std::string> got;
  if (node.kind == YamlNode::Kind::scalar) got.push_back(node.scalar);
  if (node.kind == YamlNode::Kind::map) return "must be a list of words, got a map";
  for (const YamlNode& item : node.items) {
    if (item.kind != YamlNode::Kind::scalar) return "must be a list of words";
    got.push_back(item.scalar);
  }
  value = std::move(got);
  return std::nullopt;
}

}  // namespace

Field& Field::alias(std::string name, std::string) {
  aliases.push_back(std::move(name));
  return *this;
}

Field& Field::range(Range r) {
  limits = r;
  return *this;
}

Field& Field::choices(std::vector<std::string> all) {
  allowed = std::move(all);
  return *this;
}

Field& Field::not_yet(std::vector<std::string> values, std::string why) {
  for (std::string& value : values) refused.emplace_back(std::move(value), why);
  return *this;
}

Field& Field::required() {
  is_required = true;
  return *this;
}

Field& Field::placeholder(std::string text) {
  placeholder_text = std::move(text);
  return *this;
}

Settings::Settings() : impl_(new Impl) {}
Settings::~Settings() { delete impl_; }
Settings::Settings(Settings&& other) noexcept : impl_(std::exchange(other.impl_, nullptr)) {}
Settings& Settings::operator=(Settings&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}

Field& Settings::add(std::string name, std::string help, std::string placeholder,
                     std::function<std::optional<std::string>(const YamlNode&)> set,
                     std::function<std::string()> dump,
                     std::function<std::optional<double>()> number) {
  check(impl_->find(name) == nullptr, cat("settings: '", name, "' is declared twice"));
  auto row = std::make_unique<Impl::Row>();
  Field& field = row->field;
  row->heading = impl_->heading;
  field.name = std::move(name);
  field.help = std::move(help);
  field.placeholder_text = std::move(placeholder);
  field.set = std::move(set);
  field.dump = std::move(dump);
  field.number = std::move(number);
  field.default_text = field.dump();
  impl_->fields.push_back(&field);
  impl_->rows.push_back(std::move(row));
  return field;
}

Field& Settings::field(std::string name, bool& value, std::string help) {
  Field& f = add(
      std::move(name), std::move(help), "",
      [&value](const YamlNode& n) { return read_bool(n, value); }, [&value] { return cat(value); });
  f.is_bool = true;
  return f;
}

Field& Settings::field(std::string name, int& value, std::string help) {
  return add(
      std::move(name), std::move(help), "N",
      [&value](const YamlNode& n) -> std::optional<std::string> {
        int64_t got = 0;
        const auto wrong = read_int(n, got);
        if (wrong) return wrong;
        if (got < std::numeric_limits<int>::min() || got > std::numeric_limits<int>::max()) {
          return cat("must be a whole number of at most 32 bits, got '", n.scalar, "'");
        }
        value = static_cast<int>(got);
        return std::nullopt;
      },
      [&value] { return cat(value); }, [&value] { return static_cast<double>(value); });
}

Field& Settings::field(std::string name, int64_t& value, std::string help) {
  return add(
      std::move(name), std::move(help), "N",
      [&value](const YamlNode& n) { return read_int(n, value); }, [&value] { return cat(value); },
      [&value] { return static_cast<double>(value); });
}

Field& Settings::field(std::string name, float& value, std::string help) {
  return add(
      std::move(name), std::move(help), "X",
      [&value](const YamlNode& n) { return set_real(n, value); }, [&value] { return cat(value); },
      [&value] { return static_cast<double>(value); });
}

Field& Settings::field(std::string name, double& value, std::string help) {
  return add(
      std::move(name), std::move(help), "X",
      [&value](const YamlNode& n) { return set_real(n, value); }, [&value] { return cat(value); },
      [&value] { return value; });
}

Field& Settings::field(std::string name, std::string& value, std::string help) {
  Field& f = add(
      std::move(name), std::move(help), "TEXT",
      [&value](const YamlNode& n) { return read_string(n, value); },
      [&value] { return yaml_scalar(value); });
  f.is_text = true;
  return f;
}

Field& Settings::field(std::string name, std::optional<int64_t>& value, std::string help) {
  return add(
      std::move(name), std::move(help), "N",
      [&value](const YamlNode& n) { return set_optional(n, value, read_int); },
      [&value] { return value ? cat(*value) : "null"; }, [&value] { return number_of(value); });
}

Field& Settings::field(std::string name, std::optional<double>& value, std::string help) {
  return add(
      std::move(name), std::move(help), "X",
      [&value](const YamlNode& n) { return set_optional(n, value, read_double); },
      [&value] { return value ? cat(*value) : "null"; }, [&value] { return number_of(value); });
}

Field& Settings::field(std::string name, std::optional<std::string>& value, std::string help) {
  Field& f = add(
      std::move(name), std::move(help), "TEXT",
      [&value](const YamlNode& n) { return set_optional(n, value, read_string); },
      [&value] { return value ? yaml_scalar(*value) : "null"; });
  f.is_text = true;
  return f;
}

Field& Settings::field(std::string name, std::vector<std::string>& value, std::string help) {
  Field& f = add(
      std::move(name), std::move(help), "LIST",
      [&value](const YamlNode& n) { return set_list(n, value); },
      [&value] { return flow_list(value); });
  f.is_list = true;
  return f;
}

Field& Settings::custom(std::string name, std::string help,
                        std::function<void(const YamlNode&, Settings&)> read,
                        std::function<std::string()> dump) {
  Field& f = add(std::move(name), std::move(help), "YAML", nullptr, std::move(dump));
  impl_->rows.back()->custom_read = std::move(read);
  return f;
}

void Settings::not_yet(std::string name, std::string why) {
  impl_->refused.emplace_back(std::move(name), std::move(why));
}

void Settings::heading(std::string title) { impl_->heading = std::move(title); }

void Settings::error(Where where, std::string what, std::string hint) {
  impl_->mistakes.emplace_back(std::move(where), std::move(what), std::move(hint));
}

const std::vector<Field*>& Settings::fields() const { return impl_->fields; }

std::vector<std::string> Settings::names() const {
  std::vector<std::string> out;
  for (const Field* field : impl_->fields) {
    out.push_back(field->name);
    out.insert(out.end(), field->aliases.begin(), field->aliases.end());
  }
  return out;
}

bool Settings::given(std::string_view name) const {
  const Impl::Row* row = impl_->find(name);
  check(row != nullptr, cat("settings: no row is named '", name, "'"));
  return row->field.given;
}

Where Settings::where(std::string_view name) const {
  const Impl::Row* row = impl_->find(name);
  if (row != nullptr && row->field.given) return row->field.given_where;
  return Where{impl_->document, 0, 0, "", 1};
}

Settings::Impl::Row* Settings::Impl::find(std::string_view name) const {
  for (const auto& row : rows) {
    const Field& f = row->field;
    if (f.name == name) return row.get();
    if (std::find(f.aliases.begin(), f.aliases.end(), name) != f.aliases.end()) return row.get();
  }
  return nullptr;
}

bool Settings::Impl::is_parent(std::string_view path) const { return !children(path).empty(); }

const std::string* Settings::Impl::refusal(std::string_view path) const {
  for (const auto& [name, why] : refused) {
    if (name == path) return &why;
  }
  return nullptr;
}

std::vector<std::string> Settings::Impl::children(std::string_view parent) const {
  std::vector<std::string> out;
  const std::string prefix = cat(parent, ".");
  const auto collect = [&](const std::string& name) {
    if (starts_with(name, prefix)) out.push_back(name.substr(prefix.size()));
  };
  for (const Field* field : fields) {
    collect(field->name);
    for (const std::string& alias : field->aliases) collect(alias);
  }
  for (const auto& entry : refused) collect(entry.first);
  return out;
}

void Settings::Impl::saw(const std::string& file) {
  if (std::find(files.begin(), files.end(), file) == files.end()) files.push_back(file);
}

}  // namespace nibble
