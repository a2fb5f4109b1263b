// YAML 1.2 as a tree in which every node knows its place. Duplicate keys are mistakes, anchors and
// tags beyond the core schema are refused. Scalars stay text: their reader decides what they mean,
// so that 2e-4 is a number and no is a word.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"

namespace nibble {

struct YamlEntry;

struct YamlNode {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string scalar;   // for Kind::scalar
  bool quoted = false;  // "12" in quotes is text, never a number
  Where where;          // of the value; of the key in `entries[i].first`
  std::vector<YamlNode> items;
  std::vector<YamlEntry> entries;

  const YamlNode* find(std::string_view key) const;  // null when absent
};

struct YamlEntry {
  YamlNode first, second;  // key and value
};

// Throws UserErrors with exit 2. `name` is what messages call the file. Mistakes that leave the
// rest readable (duplicate keys, anchors, tags) go to `mistakes` when it is given, so that a reader
// of settings can report them together with its own; broken syntax always throws.
YamlNode parse_yaml(std::string_view text, const std::string& name,
                    std::vector<UserError>* mistakes = nullptr);
YamlNode read_yaml(const std::string& path,  // missing file: exit 66
                   std::vector<UserError>* mistakes = nullptr);

// A scalar as YAML text: quoted only where it would otherwise read as something else.
std::string yaml_scalar(std::string_view text);

}  // namespace nibble
