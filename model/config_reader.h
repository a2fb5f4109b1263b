// Reads config.json key by key and remembers which keys were understood: what is left over at the
// end and is not known to be harmless is refused by name, because it could change numbers.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/json.h"

namespace nibble {

class ConfigReader {
 public:
  ConfigReader(const Json& config, std::string where);

  bool has(const std::string& key) const;    // present and not null
  bool given(const std::string& key) const;  // present, null or not
  int64_t integer(const std::string& key);   // required, positive
  int64_t integer(const std::string& key, int64_t otherwise);
  int64_t count(const std::string& key, int64_t otherwise);  // 0 is allowed
  std::optional<int64_t> token(const std::string& key);      // a token id, or none
  std::vector<int64_t> tokens(const std::string& key);       // one id or a list
  double number(const std::string& key, double otherwise);
  bool boolean(const std::string& key, bool otherwise);
  std::string text(const std::string& key, const std::string& otherwise);
  const Json* raw(const std::string& key);  // null when absent; counts as understood

  // The key may only have this value (or be absent): anything else is refused with the reason.
  void only(const std::string& key, const Json& value, const std::string& why);
  void only(const std::string& key, bool value, const std::string& why);
  void only(const std::string& key, const char* value, const std::string& why);
  void understood(const std::string& key) { used_.insert(key); }
  // Throws UserError for every key that nobody read and that is not on the list of harmless ones.
  void finish() const;
  std::vector<UserError> left_over() const;  // the same as a list

  [[noreturn]] void refuse(const std::string& key, const std::string& what,
                           const std::string& hint = "") const;
  const std::string& where() const { return where_; }

 private:
  const Json& config_;
  std::string where_;
  std::set<std::string> used_;
};

}  // namespace nibble
