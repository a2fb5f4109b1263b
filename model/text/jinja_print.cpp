// How Python prints: str, repr, shortest floats, and json.dumps with its separators and indent.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/text.h"
#include "model/text/jinja_unicode.h"
#include "model/text/jinja_value.h"

namespace nibble::jinja {

namespace {

void append_hex(std::string& out, char32_t c, int digits) {
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) {
    out += "0123456789abcdef"[(c >> shift) & 15];
  }
}

void append_text_repr(std::string& out, const std::string& text) {
  const bool single = text.find('\'') != std::string::npos;
  const char quote = single && text.find('"') == std::string::npos ? '"' : '\'';
  out += quote;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_point(text, at);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (is_printable(c)) {
      append_point(out, c);
    } else {
      out += c < 0x100 ? "\\x" : c < 0x10000 ? "\\u" : "\\U";
      append_hex(out, c, c < 0x100 ? 2 : c < 0x10000 ? 4 : 8);
    }
  }
  out += quote;
}

class Printer {
 public:
  Printer(Runtime& runtime, std::string& out) : runtime_(runtime), out_(out) {}

  void repr(const Value& v, int depth = 0) {
    if (depth > kMaxValueDepth) throw Failure("a namespace contains itself");
    runtime_.check_size(static_cast<int64_t>(out_.size()));
    switch (v.kind()) {
      case Kind::undefined:
        out_ += "Undefined";
        break;
      case Kind::none:
        out_ += "None";
        break;
      case Kind::boolean:
        out_ += v.integer() != 0 ? "True" : "False";
        break;
      case Kind::integer:
        append(out_, v.integer());
        break;
      case Kind::real:
        out_ += float_repr(v.real());
        break;
      case Kind::text:
        text(v);
        break;
      case Kind::list:
        sequence(v.items(), "[", "]", depth);
        break;
      case Kind::tuple:
        sequence(v.items(), "(", v.items().size() == 1 ? ",)" : ")", depth);
        break;
      case Kind::dict:
        dict(v.dict(), depth);
        break;
      case Kind::range:
        range(v.as<Range>());
        break;
      case Kind::view:
        view(v, depth);
        break;
      case Kind::space:
        out_ += "<Namespace ";
        dict(v.as<Space>().attributes, depth);
        out_ += ">";
        break;
      case Kind::iterator:
        out_ += cat("<", v.as<Iterator>().label, ">");
        break;
      case Kind::function:
        function(v.as<Function>());
        break;
      case Kind::loop:
        out_ += cat("<LoopContext ", get_attribute(v, "index").integer(), "/",
                    get_attribute(v, "length").integer(), ">");
        break;
    }
  }

 private:
  void text(const Value& v) {
    runtime_.charge_bytes(v.bytes().size());
    if (v.is_markup()) out_ += "Markup(";
    append_text_repr(out_, v.bytes());
    if (v.is_markup()) out_ += ")";
  }

  void sequence(const Items& items, const char* open, const char* close, int depth) {
    out_ += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += ", ";
      repr(items[i], depth + 1);
    }
    out_ += close;
  }

  void dict(const Dict& d, int depth) {
    out_ += "{";
    for (size_t i = 0; i < d.entries.size(); ++i) {
      if (i > 0) out_ += ", ";
      repr(d.entries[i].first, depth + 1);
      out_ += ": ";
      repr(d.entries[i].second, depth + 1);
    }
    out_ += "}";
  }

  void range(const Range& r) {
    out_ += cat("range(", r.start, ", ", r.stop);
    out_ += r.step == 1 ? ")" : cat(", ", r.step, ")");
  }

  void view(const Value& v, int depth) {
    const ViewOf of = v.as<View>().of;
    out_ += of == ViewOf::keys     ? "dict_keys("
            : of == ViewOf::values ? "dict_values("
                                   : "dict_items(";
    Items items;
    auto next = iterate(v);
    for (Value item; next(item);) items.push_back(item);
    sequence(items, "[", "])", depth);
  }

  void function(const Function& f) {
    if (f.macro) {
      out_ += "<Macro ";
      append_text_repr(out_, f.name);
      out_ += ">";
    } else {
      out_ += cat("<function ", f.name, ">");
    }
  }

  Runtime& runtime_;
  std::string& out_;
};

// ---- JSON ----

void append_json_text(std::string& out, const std::string& text, bool ascii) {
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_point(text, at);
    switch (c) {
      case '"':
        out += "\\\"";
        continue;
      case '\\':
        out += "\\\\";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\f':
        out += "\\f";
        continue;
      case '\b':
        out += "\\b";
        continue;
      default:
        break;
    }
    if (c >= 0x10000 && ascii) {
      out += "\\u";
      append_hex(out, 0xD800 + ((c - 0x10000) >> 10), 4);
      out += "\\u";
      append_hex(out, 0xDC00 + ((c - 0x10000) & 0x3FF), 4);
    } else if (c < 0x20 || (ascii && c > 0x7E)) {
      out += "\\u";
      append_hex(out, c, 4);
    } else {
      append_point(out, c);
    }
  }
  out += '"';
}

std::string json_float(double d) {
  if (std::isnan(d)) return "NaN";
  if (std::isinf(d)) return d > 0 ? "Infinity" : "-Infinity";
  return float_repr(d);
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, std::string& out, const JsonStyle& style)
      : runtime_(runtime), out_(out), style_(style) {}

  void write(const Value& v, int level) {
    runtime_.check_size(static_cast<int64_t>(out_.size()));
    switch (v.kind()) {
      case Kind::none:
        out_ += "null";
        break;
      case Kind::boolean:
        out_ += v.integer() != 0 ? "true" : "false";
        break;
      case Kind::integer:
        append(out_, v.integer());
        break;
      case Kind::real:
        out_ += json_float(v.real());
        break;
      case Kind::text:
        runtime_.charge_bytes(v.bytes().size());
        append_json_text(out_, v.bytes(), style_.ascii);
        break;
      case Kind::list:
      case Kind::tuple:
        array(v.items(), level);
        break;
      case Kind::dict:
        object(v.dict(), level);
        break;
      default:
        type_error(cat("Object of type ", type_name(v), " is not JSON serializable"));
    }
  }

 private:
  void newline(int level) {
    if (!style_.pretty) return;
    runtime_.check_size(static_cast<int64_t>(style_.indent.size()) * level);
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += style_.indent;
  }

  void array(const Items& items, int level) {
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      newline(level + 1);
      write(items[i], level + 1);
    }
    if (!items.empty()) newline(level);
    out_ += ']';
  }

  void object(const Dict& dict, int level) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto* a, const auto* b) { return less(a->first, b->first); });
    }
    out_ += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      newline(level + 1);
      key(entries[i]->first);
      out_ += style_.key_separator;
      write(entries[i]->second, level + 1);
    }
    if (!entries.empty()) newline(level);
    out_ += '}';
  }

  void key(const Value& k) {
    std::string text;
    switch (k.kind()) {
      case Kind::text:
        text = k.bytes();
        break;
      case Kind::none:
        text = "null";
        break;
      case Kind::boolean:
        text = k.integer() != 0 ? "true" : "false";
        break;
      case Kind::integer:
        text = cat(k.integer());
        break;
      case Kind::real:
        text = json_float(k.real());
        break;
      default:
        type_error(cat("keys must be str, int, float, bool or None, not ", type_name(k)));
    }
    append_json_text(out_, text, style_.ascii);
  }

  Runtime& runtime_;
  std::string& out_;
  const JsonStyle& style_;
};

}  // namespace

std::string float_repr(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d > 0 ? "inf" : "-inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific);
  const std::string shortest(buffer, end.ptr);  // d.ddde±xx
  const size_t e = shortest.find('e');
  const int exponent = std::stoi(shortest.substr(e + 1));
  const std::string sign = shortest[0] == '-' ? "-" : "";
  std::string digits;
  for (char c : shortest.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    std::string out = sign + digits[0];
    if (count > 1) out += "." + digits.substr(1);
    const std::string power = cat(std::abs(exponent));
    return out + (exponent < 0 ? "e-" : "e+") + (power.size() < 2 ? "0" : "") + power;
  }
  if (exponent < 0) return sign + "0." + std::string(-exponent - 1, '0') + digits;
  if (count <= exponent + 1) return sign + digits + std::string(exponent + 1 - count, '0') + ".0";
  return sign + digits.substr(0, exponent + 1) + "." + digits.substr(exponent + 1);
}

std::string to_repr(Runtime& runtime, const Value& v) {
  runtime.charge_walk(v);
  std::string out;
  Printer(runtime, out).repr(v);
  runtime.check_size(static_cast<int64_t>(out.size()));
  return out;
}

std::string to_str(Runtime& runtime, const Value& v) {
  if (v.is_text()) return v.bytes();
  if (v.is(Kind::undefined)) return "";
  return to_repr(runtime, v);
}

std::string to_json_text(Runtime& runtime, const Value& v, const JsonStyle& style) {
  runtime.charge_walk(v);
  std::string out;
  JsonWriter(runtime, out, style).write(v, 0);
  runtime.check_size(static_cast<int64_t>(out.size()));
  return out;
}

}  // namespace nibble::jinja
