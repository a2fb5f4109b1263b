// Filters on one value: text, numbers, defaults and JSON.
#include "model/text/jinja_filters.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/text.h"
#include "model/text/jinja_unicode.h"

namespace nibble::jinja {

namespace {

// soft_str: what most text filters do first; markup stays markup.
Value soft_text(Call& call, const Value& v) {
  return v.is_text() ? v : call.runtime.text(to_str(call.runtime, v));
}

Value method(const Value& text, const std::string& name, Call& call) {
  bool found = false;
  const Value function = find_attribute(text, name, found);
  return function.as<Function>().call(call);
}

template <std::string (*kMap)(std::string_view)>
Value mapped(const Value& input, Call& call) {
  call.bind("filter", {});
  const Value text = soft_text(call, input);
  return call.runtime.text(kMap(text.bytes()), text.is_markup());
}

Value trim(const Value& input, Call& call) {
  call.bind("trim", {"chars"});
  return method(soft_text(call, input), "strip", call);
}

Value string(const Value& input, Call& call) {
  call.bind("string", {});
  return soft_text(call, input);
}

// Words begin after white space, hyphens and opening brackets, unlike str.title.
Value title(const Value& input, Call& call) {
  call.bind("title", {});
  std::string out, word;
  const Value text = soft_text(call, input);
  const auto flush = [&] {
    if (word.empty()) return;
    size_t first = 0;
    next_point(word, first);
    out += upper(std::string_view(word).substr(0, first));
    out += lower(std::string_view(word).substr(first));
    word.clear();
  };
  for (char32_t c : points(text.bytes())) {
    const bool beginning =
        is_space(c) || (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) !=
                                        std::string_view::npos);
    if (beginning) flush();
    append_point(beginning ? out : word, c);
  }
  flush();
  return call.runtime.text(std::move(out), text.is_markup());
}

Value replace(const Value& input, Call& call) {
  const auto bound = call.bind("replace", {"old", "new", "count"}, 2);
  Call inner{call.runtime, {}, {}};
  for (int i : {0, 1}) inner.args.push_back(Value::text(to_str(call.runtime, *bound[i])));
  if (bound[2] != nullptr && !bound[2]->is(Kind::none)) inner.args.push_back(*bound[2]);
  return method(Value::text(to_str(call.runtime, input)), "replace", inner);
}

Value center(const Value& input, Call& call) {
  const auto bound = call.bind("center", {"width"});
  Call inner{call.runtime, {bound[0] != nullptr ? *bound[0] : Value::of(int64_t{80})}, {}};
  return method(soft_text(call, input), "center", inner);
}

Value format(const Value& input, Call& call) {
  if (!call.args.empty() && !call.named.empty()) {
    throw Failure("can't handle positional and keyword arguments at the same time");
  }
  if (call.named.empty()) {
    return percent_format(call.runtime, soft_text(call, input), Value::tuple(call.args));
  }
  Dict dict;
  for (const auto& [name, value] : call.named) dict.set(Value::text(name), value);
  return percent_format(call.runtime, soft_text(call, input), Value::dict(std::move(dict)));
}

Value indent(const Value& input, Call& call) {
  const auto bound = call.bind("indent", {"width", "first", "blank"});
  if (input.is(Kind::undefined)) throw Failure(input.why());
  if (!input.is_text()) type_error(cat("indent needs a str, got ", type_name(input)));
  std::string by(4, ' ');
  if (bound[0] != nullptr && bound[0]->is_text()) {
    by = bound[0]->bytes();
  } else if (bound[0] != nullptr) {
    if (!bound[0]->is_integral()) type_error("indent needs a number of spaces or a str");
    call.runtime.check_size(bound[0]->integer());
    by.assign(static_cast<size_t>(std::max<int64_t>(bound[0]->integer(), 0)), ' ');
  }
  const bool first = bound[1] != nullptr && truthy(*bound[1]);
  const bool blank = bound[2] != nullptr && truthy(*bound[2]);
  std::string out;
  bool at_start = true;
  for (const std::string& line : split_lines(input.bytes() + "\n", false)) {
    if (!at_start) out += '\n';
    if (at_start ? first : (blank || !line.empty())) out += by;
    at_start = false;
    out += line;
    call.runtime.check_size(static_cast<int64_t>(out.size()));
  }
  return call.runtime.text(std::move(out), input.is_markup());
}

Value truncate(const Value& input, Call& call) {
  const auto bound = call.bind("truncate", {"length", "killwords", "end", "leeway"});
  const auto number = [&](const Value* v, int64_t fallback) {
    if (v == nullptr || v->is(Kind::none)) return fallback;
    if (!v->is_integral()) type_error("truncate needs integers");
    return v->integer();
  };
  const int64_t most = number(bound[0], 255), leeway = number(bound[3], 5);
  const std::string end = bound[2] != nullptr ? to_str(call.runtime, *bound[2]) : "...";
  if (most < count_points(end) || leeway < 0)
    throw Failure("AssertionError: truncate is too short");
  if (length(input) <= most + leeway) return input;
  if (!input.is_text()) type_error(cat("truncate needs a str, got ", type_name(input)));
  std::string cut =
      utf8(points(input.bytes()).substr(0, static_cast<size_t>(most - count_points(end))));
  const bool kill = bound[1] != nullptr && truthy(*bound[1]);
  const size_t space = kill ? std::string::npos : cut.rfind(' ');
  return call.runtime.text(cut.substr(0, space) + end);
}

Value wordcount(const Value& input, Call& call) {
  call.bind("wordcount", {});
  int64_t n = 0;
  bool inside = false;
  for (char32_t c : points(soft_text(call, input).bytes())) {
    n += is_word(c) && !inside ? 1 : 0;
    inside = is_word(c);
  }
  return Value::of(n);
}

Value escape(const Value& input, Call& call) {
  call.bind("escape", {});
  if (input.is_markup()) return input;
  return call.runtime.text(escape_html(to_str(call.runtime, input)), true);
}

Value forceescape(const Value& input, Call& call) {
  call.bind("forceescape", {});
  return call.runtime.text(escape_html(to_str(call.runtime, input)), true);
}

Value safe(const Value& input, Call& call) {
  call.bind("safe", {});
  return call.runtime.text(to_str(call.runtime, input), true);
}

// Where `close` ends that follows an `open` which ends at `at`; the two may share characters, as in
// <!-->. npos: nowhere.
size_t end_of_cut(std::string_view text, size_t at, std::string_view open, std::string_view close) {
  for (size_t shared = close.size() - 1; shared > 0; --shared) {
    if (ends_with(open, close.substr(0, shared)) &&
        starts_with(text.substr(at), close.substr(shared)))
      return at + close.size() - shared;
  }
  const size_t found = find_text(text, close, at);
  return found == std::string_view::npos ? found : found + close.size();
}

// Cuts out `open` … `close` for as long as there is an `open`, also one that a cut put together.
std::string without(std::string_view text, std::string_view open, std::string_view close) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    out += text[at++];
    if (!ends_with(out, open)) continue;
    const size_t end = end_of_cut(text, at, open, close);
    if (end == std::string_view::npos) return out.append(text.substr(at));
    out.resize(out.size() - open.size());
    at = end;
  }
  return out;
}

std::string without_entities(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kEntities = {
      {{"&lt;", "<"},
       {"&gt;", ">"},
       {"&#34;", "\""},
       {"&quot;", "\""},
       {"&#39;", "'"},
       {"&amp;", "&"}}};
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto known = std::find_if(kEntities.begin(), kEntities.end(), [&](const auto& entity) {
      return starts_with(text.substr(at), entity.first);
    });
    out += known == kEntities.end() ? text.substr(at, 1) : known->second;
    at += known == kEntities.end() ? 1 : known->first.size();
  }
  return out;
}

Value striptags(const Value& input, Call& call) {
  call.bind("striptags", {});
  const std::string text = without(without(to_str(call.runtime, input), "<!--", "-->"), "<", ">");
  Call none{call.runtime, {}, {}};
  const Value words = method(Value::text(text), "split", none);
  Call join{call.runtime, {words}, {}};
  return call.runtime.text(without_entities(method(Value::text(" "), "join", join).bytes()));
}

Value urlencode(const Value& input, Call& call) {
  call.bind("urlencode", {});
  const auto quote = [&](const Value& v, bool query) {
    std::string out;
    for (const char c : to_str(call.runtime, v)) {
      const bool plain = (std::isalnum(static_cast<unsigned char>(c)) != 0) || c == '_' ||
                         c == '.' || c == '-' || c == '~' || (c == '/' && !query);
      constexpr std::string_view kHex = "0123456789ABCDEF";
      if (plain) {
        out += c;
      } else if (query && c == ' ') {
        out += '+';
      } else {
        out += '%';
        out += kHex[static_cast<unsigned char>(c) >> 4];
        out += kHex[static_cast<unsigned char>(c) & 15];
      }
    }
    return out;
  };
  if (input.is_text() || !iterable(input)) return call.runtime.text(quote(input, false));
  std::string out;
  Call none{call.runtime, {}, {}};
  const Value pairs = input.is(Kind::dict) ? method(input, "items", none) : input;
  for (const Value& pair : to_items(call.runtime, pairs)) {
    const Items both = to_items(call.runtime, pair);
    if (both.size() != 2) throw Failure("ValueError: urlencode needs pairs");
    out += (out.empty() ? "" : "&") + quote(both[0], true) + "=" + quote(both[1], true);
  }
  return call.runtime.text(std::move(out));
}

Value xmlattr(const Value& input, Call& call) {
  const auto bound = call.bind("xmlattr", {"autospace"});
  if (!input.is(Kind::dict)) type_error("xmlattr needs a dict");
  std::string out;
  for (const auto& [key, value] : input.dict().entries) {
    if (value.is(Kind::none) || value.is(Kind::undefined)) continue;
    const std::string name = to_str(call.runtime, key);
    if (name.find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      throw Failure(cat("ValueError: Invalid character in attribute name: '", name, "'"));
    }
    const std::string text = to_str(call.runtime, value);
    out += cat(out.empty() ? "" : " ", escape_html(name), "=\"",
               value.is_markup() ? text : escape_html(text), "\"");
    call.runtime.check_size(static_cast<int64_t>(out.size()));
  }
  const bool space = bound[0] == nullptr || truthy(*bound[0]);
  return call.runtime.text((space && !out.empty() ? " " : "") + out);
}

// ---- numbers ----

Value abs(const Value& input, Call& call) {
  call.bind("abs", {});
  if (input.is(Kind::real)) return Value::of(std::fabs(input.real()));
  const Value same = input.is_number() ? positive(input) : Value::none();
  if (!same.is(Kind::integer))
    type_error(cat("bad operand type for abs(): '", type_name(input), "'"));
  return same.integer() < 0 ? negate(same) : same;
}

std::string without_underscores(std::string_view text, bool& good) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() ||
               std::isalnum(static_cast<unsigned char>(text[i - 1])) == 0 ||
               std::isalnum(static_cast<unsigned char>(text[i + 1])) == 0) {
      good = false;
    }
  }
  return out;
}

bool parse_float(std::string_view source, double& value) {
  bool good = true;
  std::string text = without_underscores(strip_left(strip_right(source)), good);
  if (!text.empty() && text[0] == '+') text.erase(0, 1);
  if (!good || text.empty() || text[0] == '+' || text.find_first_of("xX") != std::string::npos)
    return false;
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  char* end = nullptr;  // strtod: overflow gives infinity, as Python's float() does
  if (text.find('(') != std::string::npos) return false;
  value = std::strtod(text.c_str(), &end);
  return *end == '\0';
}

bool parse_integer(std::string_view source, int64_t base, int64_t& value) {
  bool good = true;
  std::string text = without_underscores(strip_left(strip_right(source)), good);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.erase(0, 1);
  if (text.size() > 2 && text[0] == '0') {
    const auto letter = static_cast<char>(text[1] | 32);
    const int64_t named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (named != 0 && (base == named || base == 0)) {
      base = named;
      text.erase(0, 2);
    }
  }
  if (base == 0) base = 10;
  if (!good || text.empty() || text[0] == '-' || base < 2 || base > 36) return false;
  const auto result =
      std::from_chars(text.data(), text.data() + text.size(), value, static_cast<int>(base));
  if (result.ec == std::errc::result_out_of_range)
    throw Failure("an integer does not fit in 64 bits");
  if (negative) value = -value;
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

bool truncated(double d, int64_t& value) {
  if (std::isnan(d)) return false;
  if (std::isinf(d)) throw Failure("OverflowError: cannot convert float infinity to integer");
  if (std::fabs(d) >= 9.2e18) throw Failure("an integer does not fit in 64 bits");
  value = static_cast<int64_t>(d);
  return true;
}

Value to_int(const Value& input, Call& call) {
  const auto bound = call.bind("int", {"default", "base"});
  if (input.is(Kind::undefined)) throw Failure(input.why());
  const int64_t base = bound[1] != nullptr && bound[1]->is_integral() ? bound[1]->integer() : 10;
  int64_t value = 0;
  double d = 0;
  bool good = false;
  if (input.is_integral()) {
    value = input.integer();
    good = true;
  } else if (input.is(Kind::real)) {
    good = truncated(input.real(), value);
  } else if (input.is_text()) {
    good = parse_integer(input.bytes(), base, value) ||
           (parse_float(input.bytes(), d) && truncated(d, value));
  }
  if (good) return Value::of(value);
  return bound[0] != nullptr ? *bound[0] : Value::of(int64_t{0});
}

Value to_float(const Value& input, Call& call) {
  const auto bound = call.bind("float", {"default"});
  if (input.is(Kind::undefined)) throw Failure(input.why());
  double d = 0;
  if (input.is_number()) return Value::of(input.real());
  if (input.is_text() && parse_float(input.bytes(), d)) return Value::of(d);
  return bound[0] != nullptr ? *bound[0] : Value::of(0.0);
}

// round(x, n): correct to the decimal, ties (which binary floats rarely are) to even.
double round_decimal(double x, int64_t digits) {
  if (!std::isfinite(x) || digits > 320) return x;
  if (digits < 0) {
    if (digits < -310) return std::copysign(0.0, x);
    const double unit = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(x / unit) * unit;
  }
  std::string buffer(400 + static_cast<size_t>(digits), '\0');
  std::snprintf(buffer.data(), buffer.size(), "%.*f", static_cast<int>(digits), x);
  return std::strtod(buffer.c_str(), nullptr);
}

Value round_integer(int64_t n, int64_t digits) {
  if (digits >= 0) return Value::of(n);
  if (digits < -18) return Value::of(int64_t{0});
  int64_t unit = 1;
  for (int64_t i = digits; i < 0; ++i) unit *= 10;
  const int64_t low = n - ((n % unit + unit) % unit), rest = n - low;
  const bool up = rest * 2 > unit || (rest * 2 == unit && (low / unit) % 2 != 0);
  return Value::of(low + (up ? unit : 0));
}

Value round(const Value& input, Call& call) {
  const auto bound = call.bind("round", {"precision", "method"});
  const int64_t digits = bound[0] == nullptr ? 0 : bound[0]->integer();
  if (bound[0] != nullptr && !bound[0]->is_integral())
    type_error("round needs an integer precision");
  const std::string how = bound[1] != nullptr ? to_str(call.runtime, *bound[1]) : "common";
  if (how != "common" && how != "ceil" && how != "floor") {
    throw Failure("method must be common, ceil or floor");
  }
  if (input.is(Kind::undefined)) throw Failure(input.why());
  if (!input.is_number()) {
    type_error(how == "common" ? cat("type ", type_name(input), " doesn't define __round__ method")
                               : cat("must be real number, not ", type_name(input)));
  }
  if (how == "common") {
    return input.is_integral() ? round_integer(input.integer(), digits)
                               : Value::of(round_decimal(input.real(), digits));
  }
  const double unit = std::pow(10.0, static_cast<double>(digits));
  const double scaled = input.real() * unit;
  return Value::of((how == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Value filesizeformat(const Value& input, Call& call) {
  const auto bound = call.bind("filesizeformat", {"binary"});
  const bool binary = bound[0] != nullptr && truthy(*bound[0]);
  double bytes = input.is_number() ? input.real() : 0;
  if (input.is(Kind::undefined)) throw Failure(input.why());
  if (input.is_text() && !parse_float(input.bytes(), bytes))
    throw Failure("ValueError: could not convert string to float: " + to_repr(call.runtime, input));
  if (!input.is_text() && !input.is_number()) {
    type_error(
        cat("float() argument must be a string or a real number, not '", type_name(input), "'"));
  }
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value::text("1 Byte");
  if (bytes < base) return Value::text(cat(static_cast<int64_t>(bytes), " Bytes"));
  size_t unit = 0;
  for (bytes /= base; bytes >= base && unit < 7; ++unit) bytes /= base;
  char number[64];
  std::snprintf(number, sizeof number, "%.1f", bytes);
  return Value::text(cat(number, " ", "kMGTPEZY"[unit] == 'k' && binary ? 'K' : "kMGTPEZY"[unit],
                         binary ? "iB" : "B"));
}

// ---- defaults, attributes, JSON ----

Value default_value(const Value& input, Call& call) {
  const auto bound = call.bind("default", {"default_value", "boolean"});
  const bool falsy_too = bound[1] != nullptr && truthy(*bound[1]);
  if (!input.is(Kind::undefined) && !(falsy_too && !truthy(input))) return input;
  return bound[0] != nullptr ? *bound[0] : Value::text("");
}

Value attr(const Value& input, Call& call) {
  const auto bound = call.bind("attr", {"name"}, 1);
  if (input.is(Kind::undefined)) throw Failure(input.why());
  bool found = false;
  Value value = find_attribute(input, to_str(call.runtime, *bound[0]), found);
  return found ? value
               : Value::undefined(cat("no attribute '", to_str(call.runtime, *bound[0]), "'"));
}

Value tojson(const Value& input, Call& call) {
  const auto bound = call.bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = bound[0] != nullptr && truthy(*bound[0]);
  style.sort_keys = bound[3] != nullptr && truthy(*bound[3]);
  if (bound[1] != nullptr && !bound[1]->is(Kind::none)) {
    style.pretty = true;
    style.item_separator = ",";
    if (bound[1]->is_text()) {
      style.indent = bound[1]->bytes();
    } else {
      if (!bound[1]->is_integral()) type_error("tojson: indent must be an int or a str");
      call.runtime.check_size(bound[1]->integer());
      style.indent.assign(static_cast<size_t>(std::max<int64_t>(bound[1]->integer(), 0)), ' ');
    }
  }
  if (bound[2] != nullptr && !bound[2]->is(Kind::none)) {
    const Items separators = to_items(call.runtime, *bound[2]);
    if (separators.size() != 2 || !separators[0].is_text() || !separators[1].is_text()) {
      type_error("tojson: separators must be two strings");
    }
    style.item_separator = separators[0].bytes();
    style.key_separator = separators[1].bytes();
  }
  return call.runtime.text(to_json_text(call.runtime, input, style));
}

constexpr std::array kRows = {
    FilterRow{"abs", abs},
    FilterRow{"attr", attr},
    FilterRow{"capitalize", mapped<capitalize>},
    FilterRow{"center", center},
    FilterRow{"d", default_value},
    FilterRow{"default", default_value},
    FilterRow{"e", escape},
    FilterRow{"escape", escape},
    FilterRow{"filesizeformat", filesizeformat},
    FilterRow{"float", to_float},
    FilterRow{"forceescape", forceescape},
    FilterRow{"format", format},
    FilterRow{"indent", indent},
    FilterRow{"int", to_int},
    FilterRow{"lower", mapped<lower>},
    FilterRow{"replace", replace},
    FilterRow{"round", round},
    FilterRow{"safe", safe},
    FilterRow{"string", string},
    FilterRow{"striptags", striptags},
    FilterRow{"title", title},
    FilterRow{"tojson", tojson},
    FilterRow{"trim", trim},
    FilterRow{"truncate", truncate},
    FilterRow{"upper", mapped<upper>},
    FilterRow{"urlencode", urlencode},
    FilterRow{"wordcount", wordcount},
    FilterRow{"xmlattr", xmlattr},
};

}  // namespace

Filter find_text_filter(std::string_view name) {
  const auto row =
      std::find_if(kRows.begin(), kRows.end(), [&](const auto& r) { return r.name == name; });
  return row == kRows.end() ? nullptr : row->filter;
}

Filter find_filter(std::string_view name) {
  const Filter filter = find_text_filter(name);
  return filter != nullptr ? filter : find_sequence_filter(name);
}

}  // namespace nibble::jinja
