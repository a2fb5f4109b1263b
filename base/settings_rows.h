// What the parts of Settings share: the rows with the heading they stand under, and what was given.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/settings.h"

namespace nibble {

// Precedence of sources, lowest first.
enum SourceRank { kFromNowhere = -1, kFromRecipe = 1, kFromEnvironment = 2, kFromFlag = 3 };

struct Settings::Impl {
  struct Row {
    Field field;
    std::string heading;
    std::function<void(const YamlNode&, Settings&)> custom_read;
    YamlNode node;                    // the value given last, for lists that grow
    std::vector<UserError> mistakes;  // of the value given last: a better source replaces them
  };
  std::vector<std::unique_ptr<Row>> rows;  // pointers to fields stay good while rows are added
  std::vector<Field*> fields;
  std::vector<std::pair<std::string, std::string>> refused;  // names known elsewhere, and why not
  std::string heading;
  std::vector<UserError> mistakes;
  std::vector<std::string> files;  // sources in the order they were read
  std::string document;

  Row* find(std::string_view name) const;       // by name or alias
  bool is_parent(std::string_view path) const;  // "quant" of "quant.type"
  const std::string* refusal(std::string_view path) const;
  std::vector<std::string> children(std::string_view parent) const;  // leaf names
  void saw(const std::string& file);
};

// What a range says of a value outside it ("must be at least 1"), or "".
std::string range_complaint(const Range& range, double value);
std::string range_text(const Range& range);  // "at least 1"; "" when unlimited

}  // namespace nibble
