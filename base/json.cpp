// The strict door for JSON. nlohmann's SAX parser checks syntax, UTF-8 and number ranges without
// recursion; this handler adds duplicate keys, a depth limit and the place of every mistake.
#include "base/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/errors.h"
#include "base/files.h"

namespace nibble {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kFewKeys = 16;  // up to here a look at each key is cheaper than a hash set

// A byte pointer that tells how far the parser has read.
class Cursor {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;
  Cursor(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  Cursor& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  bool operator==(const Cursor& other) const { return at_ == other.at_; }
  bool operator!=(const Cursor& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

Where place(std::string_view text, size_t offset, std::string_view name) {
  offset = std::min(offset, text.size());
  Where where{std::string(name), 1, 1, "", 1};
  size_t line_begin = 0;
  for (size_t i = 0; i < offset; ++i) {
    if (text[i] == '\n') {
      ++where.line;
      line_begin = i + 1;
    }
  }
  for (size_t i = line_begin; i < offset; ++i) {
    where.column += (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
  }
  // The line is quoted when a person could have typed it; minified files have lines of megabytes.
  const size_t line_end = std::min(text.find('\n', line_begin), text.size());
  const std::string_view line = text.substr(line_begin, line_end - line_begin);
  if (line.size() <= 4096 && valid_utf8(line)) where.text = line;
  return where;
}

class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  Json take() { return std::move(root_); }
  const char** cursor() { return &at_; }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& key) override {
    Frame& frame = frames_.back();
    const auto& entries = frame.container->get_ref<Json::object_t&>();
    bool twice = false;
    if (entries.size() < kFewKeys) {
      for (const auto& entry : entries) twice = twice || entry.first == key;
    } else {
      if (frame.keys.empty()) {
        for (const auto& entry : entries) frame.keys.insert(entry.first);
      }
      twice = !frame.keys.insert(key).second;
    }
    if (twice) fail(cat("the key '", key, "' is given twice"), opening_quote());
    key_ = std::move(key);
    return true;
  }

  bool parse_error(size_t position, const std::string& token,
                   const nlohmann::detail::exception& error) override {
    if (error.id == 406) fail(cat("the number ", token, " is too large"), offset() - 1);
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while …"
    std::string_view what(error.what());
    const size_t colon = what.find(": ");
    if (colon != std::string_view::npos) what.remove_prefix(colon + 2);
    fail(cat("not JSON: ", what), position > 0 ? position - 1 : 0);
  }

 private:
  struct Frame {
    Json* container;
    std::unordered_set<std::string> keys;
  };

  size_t offset() const { return at_ == nullptr ? 0 : static_cast<size_t>(at_ - text_.data()); }

  // Of the string that was just read: walk back from its closing quote over escaped ones.
  size_t opening_quote() const {
    size_t at = offset() - 1;
    for (;;) {
      if (at == 0) return 0;
      --at;
      size_t slashes = 0;
      while (slashes < at && text_[at - 1 - slashes] == '\\') ++slashes;
      if (text_[at] == '"' && slashes % 2 == 0) return at;
    }
  }

  [[noreturn]] void fail(std::string what, size_t at) {
    throw UserError(place(text_, at, name_), std::move(what), "", Exit::bad_data);
  }

  Json* add(Json value) {
    if (frames_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& container = *frames_.back().container;
    if (container.is_array()) {
      container.push_back(std::move(value));
      return &container.back();
    }
    // ordered_json looks through all keys on each insertion, which is quadratic for a vocabulary.
    // key() has checked already, so the entry goes straight to the vector below.
    auto& entries = static_cast<Json::object_t::Container&>(container.get_ref<Json::object_t&>());
    entries.emplace_back(std::move(key_), std::move(value));
    return &entries.back().second;
  }

  template <class T>
  bool put(T&& value) {
    add(Json(std::forward<T>(value)));
    return true;
  }

  bool open(Json empty) {
    if (frames_.size() >= kMaxDepth) {
      fail(cat("nested deeper than ", kMaxDepth, " levels"), offset() - 1);
    }
    frames_.push_back({add(std::move(empty)), {}});
    return true;
  }

  bool close() {
    frames_.pop_back();
    return true;
  }

  std::string_view text_, name_;
  const char* at_ = nullptr;
  Json root_;
  std::vector<Frame> frames_;
  std::string key_;
};

// As Python's repr(float): the shortest digits, an exponent from 1e16 on and below 1e-4.
void dump_real(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";  // JSON has no name for it
    return;
  }
  const double magnitude = std::abs(value);
  const bool plain = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  std::array<char, 64> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific);
  const std::string_view text(buffer.data(), end.ptr - buffer.data());
  out += text;
  if (plain && text.find('.') == std::string_view::npos) out += ".0";
}

std::string dump_scalar(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void dump_into(std::string& out, const Json& value, int indent, int level) {
  if (value.is_number_float()) {
    dump_real(out, value.get<double>());
  } else if (!value.is_structured()) {
    out += dump_scalar(value);
  } else {
    const bool map = value.is_object();
    const auto new_line = [&](int depth) {
      if (indent < 0) return;
      out.push_back('\n');
      out.append(static_cast<size_t>(indent) * static_cast<size_t>(depth), ' ');
    };
    out.push_back(map ? '{' : '[');
    bool first = true;
    for (auto it = value.begin(); it != value.end(); ++it) {
      if (!first) out.push_back(',');
      first = false;
      new_line(level + 1);
      if (map) out += cat(dump_scalar(it.key()), indent < 0 ? ":" : ": ");
      dump_into(out, it.value(), indent, level + 1);
    }
    if (!first) new_line(level);
    out.push_back(map ? '}' : ']');
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string_view name) {
  Builder builder(text, name);
  *builder.cursor() = text.data();
  Json::sax_parse(Cursor(text.data(), builder.cursor()),
                  Cursor(text.data() + text.size(), builder.cursor()), &builder);
  return builder.take();
}

Json read_json(const std::string& path) { return parse_json(read_file(path), path); }

std::string dump_json(const Json& value, int indent) {
  std::string out;
  dump_into(out, value, indent, 0);
  return out;
}

}  // namespace nibble
