// Declare a setting once. One row gives the YAML key, the --flag, the NIBBLE_ environment name,
// aliases, default, range, help line and the dump of the resolved recipe. Precedence:
// flag or key=value > NIBBLE_* > recipe > default. Every mistake of an input is found in one run.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "base/yaml.h"

namespace nibble {

struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false, high_open = false;
};
inline Range at_least(double low) { return {low}; }
inline Range above(double low) { return {low, std::numeric_limits<double>::infinity(), true}; }
inline Range between(double low, double high) { return {low, high}; }

// One declared setting; the methods refine it: v.field("lora_r", r, "rank").range(at_least(1)).
class Field {
 public:
  Field& alias(std::string name, std::string other_value_help = "");
  Field& range(Range r);
  Field& choices(std::vector<std::string> allowed);
  Field& not_yet(std::vector<std::string> values, std::string why);  // known, refused by name
  Field& required();
  Field& placeholder(std::string text);  // DIR, FILE, N in help

  std::string name, help, placeholder_text;
  std::vector<std::string> aliases, allowed;
  std::vector<std::pair<std::string, std::string>> refused;
  Range limits;
  bool is_required = false;
  bool is_list = false, is_bool = false, is_text = false;
  std::string default_text;  // the value at declaration, as `dump` writes it
  bool given = false;        // by any source
  Where given_where;         // where it was given last
  std::string given_as;      // the spelling the user used
  std::string given_value;   // its text
  int given_rank = -1;       // precedence of the source that set it
  // Sets the bound variable from one node; returns what is wrong with it ("must be …"), or nothing.
  std::function<std::optional<std::string>(const YamlNode&)> set;
  std::function<std::optional<double>()> number;  // current value, for the range; may be empty
  std::function<std::string()> dump;              // current value as YAML flow text
};

// The rows of one program or recipe, bound to the variables of a struct.
class Settings {
 public:
  Settings();
  ~Settings();
  Settings(Settings&&) noexcept;
  Settings& operator=(Settings&&) noexcept;

  // Dotted names nest: "quant.block_size" is block_size under quant.
  Field& field(std::string name, bool& value, std::string help);
  Field& field(std::string name, int& value, std::string help);
  Field& field(std::string name, int64_t& value, std::string help);
  Field& field(std::string name, float& value, std::string help);
  Field& field(std::string name, double& value, std::string help);
  Field& field(std::string name, std::string& value, std::string help);
  Field& field(std::string name, std::optional<int64_t>& value, std::string help);
  Field& field(std::string name, std::optional<double>& value, std::string help);
  Field& field(std::string name, std::optional<std::string>& value, std::string help);
  Field& field(std::string name, std::vector<std::string>& value, std::string help);
  // A value with its own reader (a list of maps, say); `read` reports mistakes through `error`.
  Field& custom(std::string name, std::string help,
                std::function<void(const YamlNode&, Settings&)> read,
                std::function<std::string()> dump);
  // A key people know from elsewhere that nibble cannot honour yet: an error with the reason.
  void not_yet(std::string name, std::string why);
  void heading(std::string title);  // groups the following rows in help and dump

  void read(const YamlNode& document);  // a recipe
  // Reads a file so that duplicate keys, anchors and tags are reported with all other mistakes.
  void read_recipe(const std::string& path);
  // key=value or --flag; "-" and "_" are alike in `key`. A list given several times grows.
  void assign(std::string_view key, std::string_view value, Where where);
  void read_environment();  // NIBBLE_<NAME>
  void error(Where where, std::string what, std::string hint = "");
  // After everything was read: ranges, required fields, contradictions found so far. Throws
  // UserErrors (exit 2) holding all mistakes in the order of their places.
  void finish();

  bool given(std::string_view name) const;   // by the user, in any source
  Where where(std::string_view name) const;  // place of the value, or of the document
  const std::vector<Field*>& fields() const;
  std::vector<std::string> names() const;  // all accepted names, for "did you mean"
  // One block per heading, 80 columns. With the prefix "--" names are spelled as flags.
  std::string help(std::string_view prefix = "") const;
  std::string dump() const;  // the fully resolved settings as YAML

 private:
  struct Impl;
  Field& add(std::string name, std::string help, std::string placeholder,
             std::function<std::optional<std::string>(const YamlNode&)> set,
             std::function<std::string()> dump,
             std::function<std::optional<double>()> number = nullptr);
  void walk(const std::string& path, const YamlNode& key, const YamlNode& value, int rank);
  void apply(std::string_view path, const YamlNode& key, const YamlNode& value, int rank);
  void assign_ranked(const std::string& path, std::string_view value, const Where& where, int rank);
  void unknown_key(const std::string& path, const Where& where);

  Impl* impl_;
};

// Reading scalars the way recipes write them. Empty: fine; otherwise what is wrong, as the end of a
// sentence that begins with the name: "must be a whole number, got 16.5".
std::optional<std::string> read_bool(const YamlNode& node, bool& value);
std::optional<std::string> read_int(const YamlNode& node, int64_t& value);
std::optional<std::string> read_double(const YamlNode& node, double& value);
std::optional<std::string> read_string(const YamlNode& node, std::string& value);

}  // namespace nibble
