// The registry names its rows: linkers drop static initializers from libraries in silence.
#include "quant/format.h"

#include "base/errors.h"

namespace nibble {

#define FORMAT(name) FormatRule name##_rule();
#include "quant/formats.def"
#undef FORMAT

namespace {

const std::vector<FormatRule>& rules() {
  static const std::vector<FormatRule> all = {
#define FORMAT(name) name##_rule(),
#include "quant/formats.def"
#undef FORMAT
  };
  return all;
}

}  // namespace

const FormatRule& rule_of(Format format) {
  const auto index = static_cast<size_t>(format);
  check(index < rules().size(), "format out of range");
  return rules()[index];
}

std::optional<Format> format_named(std::string_view name) {
  for (size_t i = 0; i < rules().size(); ++i) {
    if (name == rules()[i].name) return static_cast<Format>(i);
  }
  return std::nullopt;
}

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const FormatRule& rule : rules()) names.emplace_back(rule.name);
  return names;
}

Format dense_format(DType dtype) {
  for (size_t i = 0; i < rules().size(); ++i) {
    if (is_dense(static_cast<Format>(i)) && rules()[i].dtype == dtype)
      return static_cast<Format>(i);
  }
  fail_check(cat("no dense weight format holds ", name_of(dtype)), __FILE__, __LINE__);
}

}  // namespace nibble
