// Typed reading of one JSON object of a request. Every refusal is a 400 whose param is the path of
// the field; null is as good as absent; no number is rounded, no string is a number.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace nibble::serving::http {

class Fields {
 public:
  // `path` of the object itself, "" for the body. Throws when it is no object.
  Fields(const Json& object, std::string path);

  std::string path(const std::string& name) const;
  const Json* find(const std::string& name);  // null when absent or null
  bool present(const std::string& name) const;

  std::optional<bool> boolean(const std::string& name);
  std::optional<std::string> text(const std::string& name);
  std::optional<int64_t> integer(const std::string& name, int64_t low, int64_t high);
  struct Bounds {
    double low, high;
    bool low_open = false;
  };
  std::optional<double> number(const std::string& name, Bounds bounds);
  // Whole numbers of a list; `most` limits their count.
  std::vector<int32_t> ids(const std::string& name, int64_t vocab, size_t most);

  std::vector<std::string> unread() const;  // names that nobody asked for

 private:
  const Json& object_;
  std::string path_;
  std::set<std::string> read_;
};

// Parses a body; what cannot be parsed becomes a 400 with the path of the place.
Json parse_body(const std::string& body);
int64_t whole_number(const Json& value, const std::string& path, int64_t low, int64_t high);
std::vector<int32_t> id_list(const Json& list, const std::string& path, int64_t vocab, size_t most);

}  // namespace nibble::serving::http
