// Which matrix is kept in which format: rules by module path, the first that matches wins; then the
// modules to skip; then one format for every projection.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "quant/weight.h"

namespace nibble {

enum class Part : uint8_t { linear, head, embedding };

struct QuantRule {
  // A module's whole path or its last parts, "*" for any run of characters:
  // "model.layers.*.mlp.down_proj", "mlp.down_proj", "lm_head".
  std::string match;
  std::optional<QuantSpec> spec;  // none: as the file has it
  Where where;

  bool matches(std::string_view path) const;
};

struct QuantPlan {
  std::vector<QuantRule> modules;
  std::optional<QuantSpec>
      linears;  // of projections that nothing above speaks of; none: as on file
  // llm_int8_skip_modules, as transformers reads it: a path's beginning or end, or a regex on its
  // beginning. Given, it says all: a head it does not name is quantized like a projection.
  std::optional<std::vector<std::string>> skip;
  std::optional<double> threshold;  // of int8 weights that the file has, instead of its own

  QuantPlan() = default;
  QuantPlan(const QuantSpec& all) : linears(all) {}                     // NOLINT: a plan it is
  QuantPlan(std::optional<QuantSpec> all) : linears(std::move(all)) {}  // NOLINT

  explicit operator bool() const { return linears.has_value() || !modules.empty(); }
  const QuantRule* rule_for(std::string_view path) const;  // null: none matches
  bool skips(std::string_view path) const;
  std::optional<QuantSpec> spec_for(std::string_view path, Part part) const;
  // A rule that matches none of the paths is a UserError at its place that names the nearest.
  void check_matches(const std::vector<std::string>& paths) const;
};

// "nf4 blocks of 64, nested scales", "int8, outliers from 6", "bf16".
std::string words_of(const QuantSpec& spec);
// What a weight was made with.
QuantSpec spec_of(const Weight& weight);

}  // namespace nibble
