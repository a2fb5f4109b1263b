#include "serving/http/json_fields.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "serving/http/api_error.h"
#include "serving/http/json_place.h"

namespace nibble::serving::http {

Json parse_body(const std::string& body) {
  try {
    return parse_json(body, "body");
  } catch (const UserError& e) {
    // The parser's own words quote the input: only the kind and the place go back.
    const std::string& what = e.message();
    std::string kind = "is not valid JSON";
    if (starts_with(what, "the key")) kind = "gives a key twice";
    if (starts_with(what, "the number")) kind = "holds a number that is too large";
    if (starts_with(what, "nested")) kind = "is nested too deeply";
    const int line = e.where().line, column = e.where().column;
    throw invalid(json_path_at(body, line, column),
                  cat("the request body ", kind, " (line ", line, ", column ", column, ")"));
  }
}

int64_t whole_number(const Json& value, const std::string& path, int64_t low, int64_t high) {
  if (!value.is_number_integer()) throw invalid(path, cat(path, " must be an integer"));
  const bool huge =
      value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const int64_t n = huge ? 0 : value.get<int64_t>();
  if (huge || n < low || n > high) {
    if (high == std::numeric_limits<int64_t>::max())
      throw invalid(path, cat(path, " must be at least ", low, " (and fit 64 bits)"));
    throw invalid(path, cat(path, " must be between ", low, " and ", high));
  }
  return n;
}

std::vector<int32_t> id_list(const Json& list, const std::string& path, int64_t vocab,
                             size_t most) {
  if (!list.is_array()) throw invalid(path, cat(path, " must be a list of token ids"));
  if (list.size() > most) throw invalid(path, cat(path, " may hold at most ", most, " ids"));
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const Json& item : list) {
    const bool inside =
        item.is_number_unsigned() && item.get<uint64_t>() < static_cast<uint64_t>(vocab);
    if (!inside) {  // the path is written only when it is needed: lists may be long
      const std::string at = cat(path, "[", ids.size(), "]");
      if (!item.is_number_integer()) throw invalid(at, cat(at, " must be an integer token id"));
      throw invalid(at, cat(at, " is outside the vocabulary of ", vocab, " ids"));
    }
    ids.push_back(static_cast<int32_t>(item.get<uint64_t>()));
  }
  return ids;
}

Fields::Fields(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object_.is_object())
    throw invalid(path_, cat(path_.empty() ? "the request body" : path_, " must be a JSON object"));
}

std::string Fields::path(const std::string& name) const {
  return path_.empty() ? name : cat(path_, ".", name);
}

const Json* Fields::find(const std::string& name) {
  read_.insert(name);
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool Fields::present(const std::string& name) const {
  const auto it = object_.find(name);
  return it != object_.end() && !it->is_null();
}

std::optional<bool> Fields::boolean(const std::string& name) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_boolean()) throw invalid(path(name), cat(path(name), " must be true or false"));
  return value->get<bool>();
}

std::optional<std::string> Fields::text(const std::string& name) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_string()) throw invalid(path(name), cat(path(name), " must be a string"));
  return value->get<std::string>();
}

std::optional<int64_t> Fields::integer(const std::string& name, int64_t low, int64_t high) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  return whole_number(*value, path(name), low, high);
}

std::optional<double> Fields::number(const std::string& name, Bounds bounds) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  const std::string at = path(name);
  if (!value->is_number()) throw invalid(at, cat(at, " must be a number"));
  const double x = value->get<double>();
  const bool inside =
      std::isfinite(x) && (bounds.low_open ? x > bounds.low : x >= bounds.low) && x <= bounds.high;
  if (inside) return x;
  const std::string floor = cat(bounds.low_open ? "above " : "at least ", bounds.low);
  throw invalid(at, std::isfinite(bounds.high)
                        ? cat(at, " must be ", floor, " and at most ", bounds.high)
                        : cat(at, " must be ", floor));
}

std::vector<int32_t> Fields::ids(const std::string& name, int64_t vocab, size_t most) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  return id_list(*value, path(name), vocab, most);
}

std::vector<std::string> Fields::unread() const {
  std::vector<std::string> names;
  for (auto it = object_.begin(); it != object_.end(); ++it)
    if (read_.count(it.key()) == 0) names.push_back(it.key());
  return names;
}

}  // namespace nibble::serving::http
