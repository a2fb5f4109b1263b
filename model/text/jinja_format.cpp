// Python's two formatting languages: "%5.2f" % x and "{:>8}".format(x).
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/text.h"
#include "model/text/jinja_unicode.h"
#include "model/text/jinja_value.h"

namespace nibble::jinja {

namespace {

constexpr int64_t kMaxPrecision = 1000;

struct Spec {
  std::string fill = " ";
  char align = 0;  // < > ^ =
  char sign = '-';
  bool alternate = false;
  int64_t width = 0;
  int64_t precision = -1;
  char group = 0;  // , or _
  char type = 0;
};

std::string pad(Runtime& runtime, const std::string& text, const Spec& spec, char fallback) {
  const int64_t room = spec.width - count_points(text);
  if (room <= 0) return text;
  runtime.check_size(spec.width);
  const char align = spec.align != 0 ? spec.align : fallback;
  size_t at = 0;
  int64_t left = align == '>' ? room : align == '^' ? room / 2 : 0;
  if (align == '=') {  // after the sign and the prefix
    left = room;
    if (!text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ')) at = 1;
    if (text.size() > at + 1 && text[at] == '0' && std::isalpha(text[at + 1]) != 0) at += 2;
  }
  std::string out = text.substr(0, at);
  for (int64_t i = 0; i < left; ++i) out += spec.fill;
  out += text.substr(at);
  for (int64_t i = left; i < room; ++i) out += spec.fill;
  return out;
}

std::string grouped(const std::string& digits, char separator, size_t every) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % every == 0) out += separator;
    out += digits[i];
  }
  return out;
}

std::string with_sign(bool negative, char sign) {
  return negative ? "-" : sign == '+' ? "+" : sign == ' ' ? " " : "";
}

std::string format_integer(int64_t n, const Spec& spec) {
  const unsigned base = spec.type == 'b'                       ? 2
                        : spec.type == 'o'                     ? 8
                        : spec.type == 'x' || spec.type == 'X' ? 16
                                                               : 10;
  uint64_t magnitude = n < 0 ? -static_cast<uint64_t>(n) : static_cast<uint64_t>(n);
  std::string digits;
  do {
    const char* set = spec.type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    digits.insert(digits.begin(), set[magnitude % base]);
    magnitude /= base;
  } while (magnitude != 0);
  if (spec.precision > static_cast<int64_t>(digits.size())) {
    digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
  }
  if (spec.group != 0) digits = grouped(digits, spec.group, base == 10 ? 3 : 4);
  const std::string prefix = spec.alternate && base != 10 ? std::string("0") + spec.type : "";
  return with_sign(n < 0, spec.sign) + prefix + digits;
}

std::string format_float(double d, const Spec& spec) {
  const bool percent = spec.type == '%';
  if (percent) d *= 100;
  const char type = percent ? 'f' : spec.type == 'n' ? 'g' : spec.type;
  const std::string sign = with_sign(std::signbit(d) && !std::isnan(d), spec.sign);
  std::string body;
  if (!std::isfinite(d)) {
    body = std::isnan(d) ? "nan" : "inf";
    if (type >= 'E' && type <= 'G') body = std::isnan(d) ? "NAN" : "INF";
  } else {
    const auto precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
    const std::string format = cat(spec.alternate ? "%#.*" : "%.*", type);
    std::vector<char> buffer(400 + static_cast<size_t>(precision));
    const int n =
        std::snprintf(buffer.data(), buffer.size(), format.c_str(), precision, std::fabs(d));
    body.assign(buffer.data(), static_cast<size_t>(n));
  }
  if (spec.group != 0) {
    const size_t point = std::min(body.find_first_of(".e"), body.size());
    body = grouped(body.substr(0, point), spec.group, 3) + body.substr(point);
  }
  return sign + body + (percent ? "%" : "");
}

// A float without a type letter: repr, or %g with at least one decimal.
std::string format_plain_float(double d, Spec spec) {
  if (spec.precision < 0) {
    std::string body = float_repr(std::fabs(d));
    if (spec.group != 0) {
      const size_t point = std::min(body.find_first_of(".e"), body.size());
      body = grouped(body.substr(0, point), spec.group, 3) + body.substr(point);
    }
    return with_sign(std::signbit(d) && !std::isnan(d), spec.sign) + body;
  }
  spec.type = 'g';
  spec.precision = std::max<int64_t>(spec.precision, 1);
  std::string body = format_float(d, spec);
  if (body.find_first_of(".en") == std::string::npos) body += ".0";
  return body;
}

int64_t read_number(std::string_view text, size_t& at, int64_t fallback) {
  const size_t start = at;
  int64_t n = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    n = std::min<int64_t>(n * 10 + (text[at] - '0'), int64_t{1} << 40);
  }
  return at == start ? fallback : n;
}

void check_precision(const Spec& spec) {
  if (spec.precision > kMaxPrecision) throw Failure("ValueError: precision too large");
}

std::string cut(const std::string& text, int64_t precision) {
  if (precision < 0) return text;
  return utf8(points(text).substr(0, static_cast<size_t>(precision)));
}

// ---- % ----

std::string number_wanted(char type, const char* got) {
  const std::string_view kinds = "eEfFgG";
  if (kinds.find(type) != std::string_view::npos) return cat("must be real number, not ", got);
  const bool whole = type == 'x' || type == 'X' || type == 'o';
  return cat("%", type, " format: ", whole ? "an integer" : "a real number", " is required, not ",
             got);
}

class PercentFormat {
 public:
  PercentFormat(Runtime& runtime, const Value& format, const Value& args)
      : runtime_(runtime), text_(format.bytes()), markup_(format.is_markup()), args_(args) {}

  Value run() {
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c != '%') {
        out_ += c;
      } else {
        directive();
      }
      runtime_.check_size(static_cast<int64_t>(out_.size()));
    }
    const bool mapping = args_.is(Kind::dict) || args_.is(Kind::list) || args_.is(Kind::range) ||
                         args_.is(Kind::undefined);  // whatever has [] may go unused
    const bool leftover =
        args_.is(Kind::tuple) ? next_ < args_.items().size() : next_ == 0 && !mapping && !keyed_;
    if (leftover) type_error("not all arguments converted during string formatting");
    return runtime_.text(std::move(out_), markup_);
  }

 private:
  void directive() {
    Spec spec;
    Value keyed;
    bool has_key = false, zero = false;
    if (peek() == '(') {
      const size_t close = text_.find(')', at_);
      if (close == std::string::npos) throw Failure("ValueError: incomplete format key");
      if (!args_.is(Kind::dict)) type_error("format requires a mapping");
      const std::string key = text_.substr(at_ + 1, close - at_ - 1);
      const Value* found = args_.dict().find(key);
      if (found == nullptr) throw Failure(cat("KeyError: '", key, "'"));
      keyed = *found;
      has_key = keyed_ = true;
      at_ = close + 1;
    }
    for (;; ++at_) {
      const char c = peek();
      if (c == '-')
        spec.align = '<';
      else if (c == '+')
        spec.sign = '+';
      else if (c == ' ' && spec.sign != '+')
        spec.sign = ' ';
      else if (c == '#')
        spec.alternate = true;
      else if (c == '0')
        zero = true;
      else if (c != ' ')
        break;
    }
    spec.width = star_or_number(0);
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (peek() == '.') {
      ++at_;
      spec.precision = star_or_number(0);
    }
    check_precision(spec);
    while (peek() == 'l' || peek() == 'h' || peek() == 'L') ++at_;
    if (at_ >= text_.size()) throw Failure("ValueError: incomplete format");
    spec.type = text_[at_++];
    if (spec.type == '%') {
      out_ += '%';
      return;
    }
    const Value value = has_key ? keyed : next();
    out_ += convert(value, spec, zero && spec.align == 0);
  }

  std::string convert(const Value& value, Spec spec, bool zero) {
    const char type = spec.type;
    if (type == 's' || type == 'r' || type == 'a') {
      std::string text = type == 's' ? to_str(runtime_, value) : to_repr(runtime_, value);
      if (markup_ && !value.is_markup()) text = escape_html(text);
      return pad(runtime_, cut(text, spec.precision), spec, '>');
    }
    if (type == 'c') {
      std::string text;
      if (value.is_integral())
        append_point(text, static_cast<char32_t>(value.integer() & 0x1FFFFF));
      else if (value.is_text() && length(value) == 1)
        text = value.bytes();
      else
        type_error("%c requires int or char");
      return pad(runtime_, text, spec, '>');
    }
    if (value.is(Kind::undefined)) throw Failure(value.why());
    if (!value.is_number()) type_error(number_wanted(type, type_name(value)));
    if (zero) {
      spec.fill = "0";
      spec.align = '=';
    }
    if (type == 'd' || type == 'i' || type == 'u' || type == 'x' || type == 'X' || type == 'o') {
      if (!value.is_integral() && type != 'd' && type != 'i' && type != 'u') {
        type_error(cat("%", type, " format: an integer is required, not float"));
      }
      if (!value.is_integral() && !(std::fabs(value.real()) < 9.2e18)) {
        throw Failure("OverflowError: cannot convert float to integer");
      }
      const int64_t n = value.is_integral() ? value.integer() : static_cast<int64_t>(value.real());
      return pad(runtime_, format_integer(n, spec), spec, '>');
    }
    if (std::string_view("eEfFgG").find(type) == std::string_view::npos) {
      throw Failure(cat("ValueError: unsupported format character '", type, "'"));
    }
    return pad(runtime_, format_float(value.real(), spec), spec, '>');
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  int64_t star_or_number(int64_t fallback) {
    if (peek() != '*') return read_number(text_, at_, fallback);
    ++at_;
    const Value v = next();
    if (!v.is_integral()) type_error("* wants int");
    return std::clamp<int64_t>(v.integer(), -(int64_t{1} << 40), int64_t{1} << 40);
  }

  Value next() {
    if (args_.is(Kind::tuple)) {
      if (next_ >= args_.items().size()) type_error("not enough arguments for format string");
      return args_.items()[next_++];
    }
    if (next_++ > 0) type_error("not enough arguments for format string");
    return args_;
  }

  Runtime& runtime_;
  const std::string& text_;
  bool markup_;
  const Value& args_;
  size_t at_ = 0, next_ = 0;
  bool keyed_ = false;
  std::string out_;
};

// ---- {} ----

Spec parse_spec(std::string_view text) {
  Spec spec;
  size_t at = 0;
  const auto peek = [&] { return at < text.size() ? text[at] : '\0'; };
  size_t after = 0;
  if (!text.empty()) next_point(text, after);
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  if (after < text.size() && is_align(text[after])) {
    spec.fill = std::string(text.substr(0, after));
    spec.align = text[after];
    at = after + 1;
  } else if (is_align(peek())) {
    spec.align = text[at++];
  }
  if (peek() == '+' || peek() == '-' || peek() == ' ') spec.sign = text[at++];
  if (peek() == '#') {
    spec.alternate = true;
    ++at;
  }
  if (peek() == '0') {
    ++at;
    if (spec.align == 0) {
      spec.align = '=';
      spec.fill = "0";
    }
  }
  spec.width = read_number(text, at, 0);
  if (peek() == ',' || peek() == '_') spec.group = text[at++];
  if (peek() == '.') {
    ++at;
    spec.precision = read_number(text, at, -1);
    if (spec.precision < 0) throw Failure("ValueError: Format specifier missing precision");
  }
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) throw Failure("ValueError: Invalid format specifier");
  check_precision(spec);
  return spec;
}

std::string format_value(Runtime& runtime, const Value& value, std::string_view text) {
  if (text.empty()) return to_str(runtime, value);
  Spec spec = parse_spec(text);
  const auto bad_type = [&] {
    throw Failure(cat("ValueError: Unknown format code '", spec.type, "' for object of type '",
                      type_name(value), "'"));
  };
  if (value.is_text()) {
    if (spec.type != 0 && spec.type != 's') bad_type();
    if (spec.align == '=' && spec.fill != "0") {
      throw Failure("ValueError: '=' alignment not allowed in string format specifier");
    }
    if (spec.align == '=') spec.align = '<';
    if (spec.group != 0)
      throw Failure(cat("ValueError: Cannot specify '", spec.group, "' with 's'."));
    return pad(runtime, cut(value.bytes(), spec.precision), spec, '<');
  }
  if (!value.is_number()) {
    type_error(cat("unsupported format string passed to ", type_name(value), ".__format__"));
  }
  const bool real_type =
      spec.type != 0 && std::string_view("eEfFgGn%").find(spec.type) != std::string_view::npos;
  if (value.is_integral() && !real_type) {
    if (spec.type == 'c') {
      std::string out;
      append_point(out, static_cast<char32_t>(value.integer() & 0x1FFFFF));
      return pad(runtime, out, spec, '<');
    }
    if (spec.type == 0 && value.is(Kind::boolean)) spec.type = 'd';
    if (spec.type != 0 && std::string_view("bdoxX").find(spec.type) == std::string_view::npos)
      bad_type();
    if (spec.precision >= 0)
      throw Failure("ValueError: Precision not allowed in integer format specifier");
    return pad(runtime, format_integer(value.integer(), spec), spec, '>');
  }
  if (spec.type == 0) return pad(runtime, format_plain_float(value.real(), spec), spec, '>');
  if (!real_type) bad_type();
  return pad(runtime, format_float(value.real(), spec), spec, '>');
}

class BraceFormat {
 public:
  BraceFormat(Call& call, bool markup) : call_(call), markup_(markup) {}

  std::string run(std::string_view text, int depth) {
    if (depth > 2) throw Failure("ValueError: Max string recursion exceeded");
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const char c = text[at++];
      const bool twice = at < text.size() && text[at] == c;
      if (c != '{' && c != '}') {
        out += c;
      } else if (twice) {
        out += c;
        ++at;
      } else if (c == '}') {
        throw Failure("ValueError: Single '}' encountered in format string");
      } else {
        out += field(inside(text, at), depth);
      }
      call_.runtime.check_size(static_cast<int64_t>(out.size()));
    }
    return out;
  }

 private:
  // What stands between the brace that was read and its partner.
  static std::string_view inside(std::string_view text, size_t& at) {
    const size_t start = at;
    for (int open = 1; at < text.size(); ++at) {
      if (text[at] == '{') ++open;
      if (text[at] == '}' && --open == 0) return text.substr(start, at++ - start);
    }
    throw Failure("ValueError: expected '}' before end of string");
  }

  std::string field(std::string_view body, int depth) {
    size_t end = 0;  // of the name: up to ! or :, but a [key] may hold both
    for (bool bracket = false; end < body.size(); ++end) {
      if (body[end] == '[') bracket = true;
      if (body[end] == ']') bracket = false;
      if (!bracket && (body[end] == '!' || body[end] == ':')) break;
    }
    Value value = lookup(body.substr(0, end));
    char conversion = 0;
    if (end < body.size() && body[end] == '!') {
      if (end + 1 >= body.size()) throw Failure("ValueError: unmatched '{' in format spec");
      conversion = body[end + 1];
      end += 2;
    }
    if (conversion == 'r' || conversion == 'a')
      value = Value::text(to_repr(call_.runtime, value));
    else if (conversion == 's')
      value = Value::text(to_str(call_.runtime, value));
    else if (conversion != 0)
      throw Failure("ValueError: Unknown conversion specifier");
    std::string spec;
    if (end < body.size() && body[end] == ':') spec = run(body.substr(end + 1), depth + 1);
    std::string out = format_value(call_.runtime, value, spec);
    return markup_ && !value.is_markup() ? escape_html(out) : out;
  }

  Value lookup(std::string_view path) {
    const size_t end = std::min(path.find_first_of(".["), path.size());
    Value value = first(std::string(path.substr(0, end)));
    for (size_t at = end; at < path.size();) {
      if (path[at] == '.') {
        const size_t stop = std::min(path.find_first_of(".[", at + 1), path.size());
        value = get_attribute(value, std::string(path.substr(at + 1, stop - at - 1)));
        at = stop;
      } else {
        const size_t close = path.find(']', at);
        if (close == std::string_view::npos)
          throw Failure("ValueError: Missing ']' in format string");
        const std::string key(path.substr(at + 1, close - at - 1));
        const bool number = !key.empty() && key.size() < 10 &&
                            key.find_first_not_of("0123456789") == std::string::npos;
        value = get_item(value, number ? Value::of(int64_t{std::stoi(key)}) : Value::text(key));
        at = close + 1;
      }
    }
    return value;
  }

  Value first(const std::string& name) {
    const bool number = name.find_first_not_of("0123456789") == std::string::npos;
    if (number) {
      if (name.size() > 9) throw Failure("IndexError: argument index out of range");
      const size_t i = name.empty() ? next_++ : static_cast<size_t>(std::stoi(name));
      if (i >= call_.args.size()) throw Failure("IndexError: Replacement index out of range");
      return call_.args[i];
    }
    for (const auto& [key, value] : call_.named) {
      if (key == name) return value;
    }
    throw Failure(cat("KeyError: '", name, "'"));
  }

  Call& call_;
  bool markup_;
  size_t next_ = 0;
};

}  // namespace

Value percent_format(Runtime& runtime, const Value& format, const Value& args) {
  return PercentFormat(runtime, format, args).run();
}

Value brace_format(const Value& format, Call& call) {
  return call.runtime.text(BraceFormat(call, format.is_markup()).run(format.bytes(), 0),
                           format.is_markup());
}

}  // namespace nibble::jinja
