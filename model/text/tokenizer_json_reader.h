// Walking a tokenizer file's JSON: missing and null mean the same, a wrong type names its key.
#pragma once

#include <simdjson.h>

#include <string>
#include <string_view>

#include "base/errors.h"

namespace nibble::text {

class JsonReader {
 public:
  using Element = simdjson::dom::element;

  JsonReader(const std::string& path, std::string text) : path_(path), text_(std::move(text)) {
    const auto error = parser_.parse(text_).get(root_);
    if (error != simdjson::SUCCESS) {
      bad(cat("not JSON: ", simdjson::error_message(error)));
    }
  }
  const Element& root() const { return root_; }
  const std::string& path() const { return path_; }

  [[noreturn]] void bad(std::string what) const {
    throw UserError(path_, std::move(what), "the file is damaged: fetch it again", Exit::bad_data);
  }
  [[noreturn]] void not_yet(std::string what) const {
    throw UserError(path_, cat(what, " is not supported yet"),
                    "use the tokenizer of a model that nibble trains and serves", Exit::bad_data);
  }

  bool has(Element parent, std::string_view key, Element& out) const {
    return parent.is_object() && parent.at_key(key).get(out) == simdjson::SUCCESS && !out.is_null();
  }
  Element need(Element parent, std::string_view key) const {
    Element out;
    if (!has(parent, key, out)) bad(cat("no \"", key, "\" where one is needed"));
    return out;
  }
  std::string text(Element value, std::string_view key) const {
    std::string_view out;
    if (value.get(out) != simdjson::SUCCESS) bad(cat(key, " is not a string"));
    return std::string(out);
  }
  std::string text_at(Element parent, std::string_view key, std::string_view otherwise = "") const {
    Element value;
    return has(parent, key, value) ? text(value, key) : std::string(otherwise);
  }
  bool flag(Element parent, std::string_view key, bool otherwise) const {
    Element value;
    if (!has(parent, key, value)) return otherwise;
    bool out = false;
    if (value.get(out) != simdjson::SUCCESS) bad(cat(key, " is not true or false"));
    return out;
  }
  int64_t number(Element value, std::string_view key) const {
    int64_t out = 0;
    if (value.get(out) != simdjson::SUCCESS) bad(cat(key, " is not a whole number"));
    return out;
  }
  simdjson::dom::array list(Element value, std::string_view key) const {
    simdjson::dom::array out;
    if (value.get(out) != simdjson::SUCCESS) bad(cat(key, " is not a list"));
    return out;
  }
  simdjson::dom::object object(Element value, std::string_view key) const {
    simdjson::dom::object out;
    if (value.get(out) != simdjson::SUCCESS) bad(cat(key, " is not an object"));
    return out;
  }

 private:
  std::string path_, text_;
  simdjson::dom::parser parser_;
  Element root_;
};

}  // namespace nibble::text
