// How recipes write numbers and words. 2e-4 is a number, yes is a word that people mean as true and
// are told so, "12" in quotes is text.
#include <charconv>
#include <cmath>
#include <limits>

#include "base/settings.h"
#include "base/settings_rows.h"
#include "base/text.h"

namespace nibble {
namespace {

std::string shown(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "nothing";
    case YamlNode::Kind::list:
      return "a list";
    case YamlNode::Kind::map:
      return "a map";
    case YamlNode::Kind::scalar:
      break;
  }
  if (node.quoted) return cat("the text \"", node.scalar, "\"");
  return cat("'", node.scalar, "'");
}

std::string wrong(std::string_view wanted, const YamlNode& node) {
  return cat("must be ", wanted, ", got ", shown(node));
}

bool plain(const YamlNode& node) {
  return node.kind == YamlNode::Kind::scalar && !node.quoted && !node.scalar.empty();
}

// Without the sign: a plus is fine, but std::from_chars knows only the minus.
std::string_view without_plus(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  return text;
}

}  // namespace

std::optional<std::string> read_bool(const YamlNode& node, bool& value) {
  if (plain(node)) {
    const std::string& text = node.scalar;
    if (text == "true" || text == "True" || text == "TRUE") {
      value = true;
      return std::nullopt;
    }
    if (text == "false" || text == "False" || text == "FALSE") {
      value = false;
      return std::nullopt;
    }
  }
  return wrong("true or false", node);
}

std::optional<std::string> read_int(const YamlNode& node, int64_t& value) {
  if (!plain(node)) return wrong("a whole number", node);
  const std::string_view text = without_plus(node.scalar);
  int64_t read = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), read);
  if (end.ec == std::errc::result_out_of_range && end.ptr == text.data() + text.size()) {
    return wrong("a whole number of at most 64 bits", node);
  }
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) {
    return wrong("a whole number", node);
  }
  value = read;
  return std::nullopt;
}

std::optional<std::string> read_double(const YamlNode& node, double& value) {
  if (!plain(node)) return wrong("a number", node);
  const std::string_view text = without_plus(node.scalar);
  double read = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), read);
  if (end.ec == std::errc::result_out_of_range) return wrong("a number that fits a double", node);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size() || !std::isfinite(read)) {
    return wrong("a number", node);
  }
  value = read;
  return std::nullopt;
}

std::optional<std::string> read_string(const YamlNode& node, std::string& value) {
  if (node.kind != YamlNode::Kind::scalar) return wrong("text", node);
  value = node.scalar;
  return std::nullopt;
}

std::string range_text(const Range& range) {
  const bool low = std::isfinite(range.low), high = std::isfinite(range.high);
  if (low && high && !range.low_open && !range.high_open) {
    return cat("between ", range.low, " and ", range.high);
  }
  std::string out;
  if (low) out = cat(range.low_open ? "above " : "at least ", range.low);
  if (low && high) out += " and ";
  if (high) out += cat(range.high_open ? "below " : "at most ", range.high);
  return out;
}

std::string range_complaint(const Range& range, double value) {
  const bool above_low = range.low_open ? value > range.low : value >= range.low;
  const bool below_high = range.high_open ? value < range.high : value <= range.high;
  return above_low && below_high ? "" : cat("must be ", range_text(range));
}

}  // namespace nibble
