// Attributes and methods of strings, dicts, lists and numbers, as Python names them. What would
// change a list or a dict is refused, as the immutable sandbox does.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.h"
#include "model/text/jinja_unicode.h"
#include "model/text/jinja_value.h"

namespace nibble::jinja {

namespace {

using Method = Value (*)(const Value& self, Call& call);
struct Row {
  std::string_view name;
  Method method;
};

// ---- arguments ----

const std::string& text_of(const Value* v, std::string_view function) {
  if (v == nullptr || !v->is_text()) {
    type_error(cat(function, "() needs a str, got ", v == nullptr ? "nothing" : type_name(*v)));
  }
  return v->bytes();
}

int64_t integer_of(const Value* v, int64_t fallback, std::string_view function) {
  if (v == nullptr) return fallback;
  if (!v->is_integral()) type_error(cat(function, "() needs an int, got ", type_name(*v)));
  return v->integer();
}

// Where character `index` of a text begins.
size_t byte_of(const Value& text, int64_t index) {
  if (text.as<Text>().ascii) return static_cast<size_t>(index);
  size_t at = 0;
  for (; index > 0; --index) next_point(text.bytes(), at);
  return at;
}

Value same_kind(const Value& self, Call& call, std::string bytes) {
  return call.runtime.text(std::move(bytes), self.is_markup());
}

// The arguments sub[, start[, end]] of find and its kin: the part of the text they name, in bytes.
struct Window {
  std::string_view text, sub;
  int64_t start = 0;    // characters before it
  bool inside = false;  // an empty needle is found only when start ≤ len
};

Window window_of(const Value& self, Call& call, std::string_view name) {
  const auto bound = call.bind(name, {"sub", "start", "end"}, 1);
  Window w{self.bytes(), text_of(bound[0], name), 0, true};
  if (bound[1] == nullptr && bound[2] == nullptr) return w;
  const Value none = Value::none();
  const int64_t size = length(self);
  const Range range = slice_range(
      {bound[1] != nullptr ? *bound[1] : none, bound[2] != nullptr ? *bound[2] : none, none}, size);
  w.inside = (bound[1] == nullptr || bound[1]->is(Kind::none) || bound[1]->integer() <= size) &&
             range.start <= range.stop;
  if (!w.inside) return w;
  w.start = range.start;
  const size_t begin = byte_of(self, range.start);
  w.text = w.text.substr(begin, byte_of(self, range.stop) - begin);
  return w;
}

int64_t find_in(const Window& w, bool last) {
  if (!w.inside) return -1;
  const size_t at = last ? w.text.rfind(w.sub) : find_text(w.text, w.sub, 0);
  return at == std::string_view::npos ? -1 : w.start + count_points(w.text.substr(0, at));
}

// ---- str ----

template <std::string (*kMap)(std::string_view)>
Value mapped(const Value& self, Call& call) {
  call.bind("method", {});
  return same_kind(self, call, kMap(self.bytes()));
}

template <bool kLeft, bool kRight>
Value strip(const Value& self, Call& call) {
  const auto bound = call.bind("strip", {"chars"});
  std::string_view text = self.bytes();
  if (bound[0] != nullptr && !bound[0]->is(Kind::none)) {
    return same_kind(self, call, strip_chars(text, text_of(bound[0], "strip"), kLeft, kRight));
  }
  if (kLeft) text = strip_left(text);
  if (kRight) text = strip_right(text);
  return same_kind(self, call, std::string(text));
}

std::vector<std::string> split_space(std::string_view text, int64_t most, bool right) {
  std::vector<std::string> parts;
  text = right ? strip_right(text) : strip_left(text);
  while (!text.empty() && (most < 0 || static_cast<int64_t>(parts.size()) < most)) {
    size_t cut = 0, at = 0;
    if (!right) {
      for (cut = text.size(); at < text.size();) {
        const size_t here = at;
        if (is_space(next_point(text, at))) {
          cut = here;
          break;
        }
      }
      parts.emplace_back(text.substr(0, cut));
      text = strip_left(text.substr(cut));
    } else {
      for (at = 0; at < text.size();) {
        if (is_space(next_point(text, at))) cut = at;
      }
      parts.emplace_back(text.substr(cut));
      text = strip_right(text.substr(0, cut));
    }
  }
  if (!text.empty()) parts.emplace_back(text);
  return parts;
}

template <bool kRight>
Value split(const Value& self, Call& call) {
  const auto bound = call.bind("split", {"sep", "maxsplit"});
  int64_t most = integer_of(bound[1], -1, "split");
  std::string_view text = self.bytes();
  std::vector<std::string> parts;
  if (bound[0] == nullptr || bound[0]->is(Kind::none)) {
    call.runtime.charge(kRight ? static_cast<int64_t>(text.size() / 16) : 0);
    parts = split_space(text, most, kRight);
  } else {
    const std::string& sep = text_of(bound[0], "split");
    if (sep.empty()) throw Failure("ValueError: empty separator");
    if (kRight) call.runtime.charge_search(text.size(), sep.size());
    for (; most != 0; --most) {
      const size_t at = kRight ? text.rfind(sep) : find_text(text, sep, 0);
      if (at == std::string_view::npos) break;
      parts.emplace_back(kRight ? text.substr(at + sep.size()) : text.substr(0, at));
      text = kRight ? text.substr(0, at) : text.substr(at + sep.size());
    }
    parts.emplace_back(text);
  }
  if (kRight) std::reverse(parts.begin(), parts.end());
  call.runtime.charge(2 * static_cast<int64_t>(parts.size()));
  Items items;
  for (std::string& part : parts) items.push_back(Value::text(std::move(part), self.is_markup()));
  return Value::list(std::move(items));
}

Value splitlines(const Value& self, Call& call) {
  const auto bound = call.bind("splitlines", {"keepends"});
  Items items;
  for (std::string& line : split_lines(self.bytes(), bound[0] != nullptr && truthy(*bound[0]))) {
    call.runtime.charge(2);
    items.push_back(Value::text(std::move(line), self.is_markup()));
  }
  return Value::list(std::move(items));
}

Value replace(const Value& self, Call& call) {
  if (!call.named.empty()) type_error("replace() takes no keyword arguments");
  const auto bound = call.bind("replace", {"old", "new", "count"}, 2);
  int64_t count = integer_of(bound[2], -1, "replace");
  const std::string& text = self.bytes();
  const std::string& from = text_of(bound[0], "replace");
  const std::string& to = text_of(bound[1], "replace");
  std::string out;
  size_t at = 0;
  while (count != 0 && at <= text.size()) {
    size_t hit = from.empty() ? at : find_text(text, from, at);
    if (hit == std::string::npos) break;
    out.append(text, at, hit - at);
    out += to;
    at = hit + from.size();
    if (from.empty()) {  // between all characters
      if (at == text.size()) {
        ++at;
        break;
      }
      const size_t start = at;
      next_point(text, at);
      out.append(text, start, at - start);
    }
    --count;
    call.runtime.check_size(static_cast<int64_t>(out.size()));
  }
  if (at < text.size()) out.append(text, at);
  return same_kind(self, call, std::move(out));
}

template <bool kEnd>
Value starts_or_ends(const Value& self, Call& call) {
  Items choices = call.args.empty() ? Items() : Items{call.args[0]};
  if (!choices.empty() && choices[0].is(Kind::tuple)) choices = Items(choices[0].items());
  if (call.args.empty()) type_error("startswith() needs an argument");
  for (const Value& choice : choices) {
    call.args[0] = choice;
    call.runtime.charge(1);
    const Window w = window_of(self, call, kEnd ? "endswith" : "startswith");
    if (w.inside && (kEnd ? ends_with(w.text, w.sub) : starts_with(w.text, w.sub)))
      return Value::of(true);
  }
  return Value::of(false);
}

template <bool kLast, bool kMust>
Value find(const Value& self, Call& call) {
  const Window w = window_of(self, call, "find");
  if (kLast) call.runtime.charge_search(w.text.size(), w.sub.size());
  const int64_t at = find_in(w, kLast);
  if (kMust && at < 0) throw Failure("ValueError: substring not found");
  return Value::of(at);
}

Value count(const Value& self, Call& call) {
  const Window w = window_of(self, call, "count");
  if (!w.inside) return Value::of(int64_t{0});
  if (w.sub.empty()) return Value::of(count_points(w.text) + 1);
  int64_t n = 0;
  for (size_t at = 0; (at = find_text(w.text, w.sub, at)) != std::string_view::npos;
       at += w.sub.size()) {
    ++n;
  }
  return Value::of(n);
}

Value join_texts(const Value& self, Call& call) {
  const auto bound = call.bind("join", {"iterable"}, 1);
  std::string out;
  bool first = true;
  for (const Value& item : to_items(call.runtime, *bound[0])) {
    if (!first) out += self.bytes();
    first = false;
    out += text_of(&item, "join");
    call.runtime.check_size(static_cast<int64_t>(out.size()));
  }
  return same_kind(self, call, std::move(out));
}

template <bool kRight>
Value partition(const Value& self, Call& call) {
  const auto bound = call.bind("partition", {"sep"}, 1);
  const std::string& sep = text_of(bound[0], "partition");
  const std::string& text = self.bytes();
  if (sep.empty()) throw Failure("ValueError: empty separator");
  if (kRight) call.runtime.charge_search(text.size(), sep.size());
  const size_t at = kRight ? text.rfind(sep) : find_text(text, sep, 0);
  if (at == std::string::npos) {
    return kRight ? Value::tuple({Value::text(""), Value::text(""), self})
                  : Value::tuple({self, Value::text(""), Value::text("")});
  }
  return Value::tuple({Value::text(text.substr(0, at)), Value::text(sep),
                       Value::text(text.substr(at + sep.size()))});
}

template <bool kSuffix>
Value remove_affix(const Value& self, Call& call) {
  const std::string& affix = text_of(call.bind("removeprefix", {"affix"}, 1)[0], "removeprefix");
  const std::string& text = self.bytes();
  if (kSuffix ? !ends_with(text, affix) : !starts_with(text, affix)) return self;
  return same_kind(
      self, call, kSuffix ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size()));
}

// How much fill goes left and right: -1 left-justified, 0 centred, 1 right-justified.
template <int kSide>
Value justify(const Value& self, Call& call) {
  const auto bound = call.bind("justify", {"width", "fillchar"}, 1);
  const int64_t width = integer_of(bound[0], 0, "justify");
  const std::string fill = bound[1] != nullptr ? text_of(bound[1], "justify") : " ";
  if (count_points(fill) != 1) type_error("the fill character must be one character");
  const int64_t room = width - length(self);
  if (room <= 0) return self;
  call.runtime.check_size(width);
  // str.center puts the odd one left when the width is odd.
  const int64_t left = kSide < 0 ? 0 : kSide > 0 ? room : room / 2 + (room & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += self.bytes();
  for (int64_t i = left; i < room; ++i) out += fill;
  return same_kind(self, call, std::move(out));
}

Value zfill(const Value& self, Call& call) {
  const int64_t width = integer_of(call.bind("zfill", {"width"}, 1)[0], 0, "zfill");
  const int64_t room = width - length(self);
  if (room <= 0) return self;
  call.runtime.check_size(width);
  const std::string& text = self.bytes();
  const size_t sign = !text.empty() && (text[0] == '+' || text[0] == '-') ? 1 : 0;
  return same_kind(self, call, text.substr(0, sign) + std::string(room, '0') + text.substr(sign));
}

Value expandtabs(const Value& self, Call& call) {
  const int64_t size = integer_of(call.bind("expandtabs", {"tabsize"})[0], 8, "expandtabs");
  call.runtime.check_size(size);
  std::string out;
  int64_t column = 0;
  for (char32_t c : points(self.bytes())) {
    if (c == '\t') {
      const int64_t fill = size > 0 ? size - column % size : 0;
      out.append(static_cast<size_t>(fill), ' ');
      column += fill;
    } else {
      append_point(out, c);
      column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
    call.runtime.check_size(static_cast<int64_t>(out.size()));
  }
  return same_kind(self, call, std::move(out));
}

template <bool (*kTest)(char32_t)>
Value all_are(const Value& self, Call& call) {
  call.bind("method", {});
  const std::u32string all = points(self.bytes());
  return Value::of(!all.empty() && std::all_of(all.begin(), all.end(), kTest));
}

bool is_alnum(char32_t c) { return is_alphabetic(c) || is_digit(c) || is_numeric(c); }

template <bool kUpper>
Value is_case(const Value& self, Call& call) {
  call.bind("method", {});
  bool cased = false;
  for (char32_t c : points(self.bytes())) {
    if (is_title_case(c) || (kUpper ? is_cased_lower(c) : is_cased_upper(c)))
      return Value::of(false);
    cased = cased || (kUpper ? is_cased_upper(c) : is_cased_lower(c));
  }
  return Value::of(cased);
}

Value is_title(const Value& self, Call& call) {
  call.bind("istitle", {});
  bool cased = false, inside = false;
  for (char32_t c : points(self.bytes())) {
    const bool upper = is_cased_upper(c) || is_title_case(c), lower = is_cased_lower(c);
    if ((upper && inside) || (lower && !inside)) return Value::of(false);
    inside = upper || lower;
    cased = cased || inside;
  }
  return Value::of(cased);
}

Value is_identifier(const Value& self, Call& call) {
  call.bind("isidentifier", {});
  const std::u32string all = points(self.bytes());
  return Value::of(!all.empty() && is_identifier_start(all[0]) &&
                   std::all_of(all.begin(), all.end(), is_identifier_part));
}

Value is_ascii_text(const Value& self, Call&) { return Value::of(self.as<Text>().ascii); }

Value is_printable_text(const Value& self, Call&) {
  const std::u32string all = points(self.bytes());
  return Value::of(std::all_of(all.begin(), all.end(), is_printable));
}

constexpr std::array kTextMethods = {
    Row{"capitalize", mapped<capitalize>},
    Row{"casefold", mapped<case_fold>},
    Row{"center", justify<0>},
    Row{"count", count},
    Row{"endswith", starts_or_ends<true>},
    Row{"expandtabs", expandtabs},
    Row{"find", find<false, false>},
    Row{"format", brace_format},
    Row{"index", find<false, true>},
    Row{"isalnum", all_are<is_alnum>},
    Row{"isalpha", all_are<is_alphabetic>},
    Row{"isascii", is_ascii_text},
    Row{"isdecimal", all_are<is_decimal>},
    Row{"isdigit", all_are<is_digit>},
    Row{"isidentifier", is_identifier},
    Row{"islower", is_case<false>},
    Row{"isnumeric", all_are<is_numeric>},
    Row{"isprintable", is_printable_text},
    Row{"isspace", all_are<is_space>},
    Row{"istitle", is_title},
    Row{"isupper", is_case<true>},
    Row{"join", join_texts},
    Row{"ljust", justify<-1>},
    Row{"lower", mapped<lower>},
    Row{"lstrip", strip<true, false>},
    Row{"partition", partition<false>},
    Row{"removeprefix", remove_affix<false>},
    Row{"removesuffix", remove_affix<true>},
    Row{"replace", replace},
    Row{"rfind", find<true, false>},
    Row{"rindex", find<true, true>},
    Row{"rjust", justify<1>},
    Row{"rpartition", partition<true>},
    Row{"rsplit", split<true>},
    Row{"rstrip", strip<false, true>},
    Row{"split", split<false>},
    Row{"splitlines", splitlines},
    Row{"startswith", starts_or_ends<false>},
    Row{"strip", strip<true, true>},
    Row{"swapcase", mapped<swap_case>},
    Row{"title", mapped<title>},
    Row{"upper", mapped<upper>},
    Row{"zfill", zfill},
};

// ---- dict, list, tuple, numbers ----

Value dict_get(const Value& self, Call& call) {
  const auto bound = call.bind("get", {"key", "default"}, 1);
  if (const Value* found = self.dict().find(*bound[0])) return *found;
  return bound[1] != nullptr ? *bound[1] : Value::none();
}

template <ViewOf kOf>
Value dict_view(const Value& self, Call& call) {
  call.bind("view", {});
  return Value::object(Kind::view, std::make_shared<View>(View{self, kOf}), self);
}

Value itself(const Value& self, Call& call) {
  call.bind("copy", {});
  return self;
}

constexpr std::array kDictMethods = {
    Row{"copy", itself},
    Row{"get", dict_get},
    Row{"items", dict_view<ViewOf::items>},
    Row{"keys", dict_view<ViewOf::keys>},
    Row{"values", dict_view<ViewOf::values>},
};

Value list_count(const Value& self, Call& call) {
  const auto bound = call.bind("count", {"value"}, 1);
  call.runtime.charge_walk(self);
  int64_t n = 0;
  for (const Value& item : self.items()) n += equal(item, *bound[0]) ? 1 : 0;
  return Value::of(n);
}

Value list_index(const Value& self, Call& call) {
  const auto bound = call.bind("index", {"value", "start", "stop"}, 1);
  call.runtime.charge_walk(self);
  const Value none = Value::none();
  const Range range = slice_range(
      {bound[1] != nullptr ? *bound[1] : none, bound[2] != nullptr ? *bound[2] : none, none},
      length(self));
  for (int64_t i = range.start; i < range.stop; ++i) {
    if (equal(self.items()[i], *bound[0])) return Value::of(i);
  }
  throw Failure("ValueError: value is not in the list");
}

constexpr std::array kListMethods = {
    Row{"copy", itself},
    Row{"count", list_count},
    Row{"index", list_index},
};

Value float_is_integer(const Value& self, Call&) {
  return Value::of(std::isfinite(self.real()) && self.real() == std::floor(self.real()));
}

Value bit_length(const Value& self, Call&) {
  const int64_t n = self.integer();
  uint64_t magnitude = n < 0 ? -static_cast<uint64_t>(n) : static_cast<uint64_t>(n);
  int64_t bits = 0;
  for (; magnitude != 0; magnitude >>= 1) ++bits;
  return Value::of(bits);
}

constexpr std::array kFloatMethods = {Row{"is_integer", float_is_integer}};
constexpr std::array kIntMethods = {Row{"bit_length", bit_length}, Row{"conjugate", itself}};

template <size_t N>
Value method_of(const std::array<Row, N>& rows, const Value& self, const std::string& name,
                bool& found) {
  const auto row =
      std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.name == name; });
  if (row == rows.end()) return Value();
  found = true;
  return make_function(
      name,
      [self, method = row->method](Call& call) {
        if (self.is_text()) call.runtime.charge_text(self.bytes().size());
        return method(self, call);
      },
      self);
}

bool mutates(const Value& object, const std::string& name) {
  constexpr std::array<std::string_view, 5> kDict = {"clear", "pop", "popitem", "setdefault",
                                                     "update"};
  constexpr std::array<std::string_view, 8> kList = {"append", "clear",  "extend",  "insert",
                                                     "pop",    "remove", "reverse", "sort"};
  if (object.is(Kind::dict)) return std::find(kDict.begin(), kDict.end(), name) != kDict.end();
  return object.is(Kind::list) && std::find(kList.begin(), kList.end(), name) != kList.end();
}

Value number_attribute(const Value& object, const std::string& name, bool& found) {
  found = true;
  if (name == "real") return positive(object);
  if (name == "imag") return object.is(Kind::real) ? Value::of(0.0) : Value::of(int64_t{0});
  if (object.is_integral() && name == "numerator") return positive(object);
  if (object.is_integral() && name == "denominator") return Value::of(int64_t{1});
  found = false;
  return object.is(Kind::real) ? method_of(kFloatMethods, object, name, found)
                               : method_of(kIntMethods, object, name, found);
}

}  // namespace

Value find_attribute(const Value& object, const std::string& name, bool& found) {
  found = false;
  if (object.is(Kind::space)) {
    const Value* value = object.as<Space>().attributes.find(name);
    if (value == nullptr) return Value();
    found = true;
    if (name[0] != '_') return *value;
  }
  if (starts_with(name, "__") || (found && object.is(Kind::space)) || mutates(object, name)) {
    found = true;
    return Value::undefined(
        cat("access to attribute '", name, "' of '", type_name(object), "' object is unsafe."));
  }
  switch (object.kind()) {
    case Kind::text:
      return method_of(kTextMethods, object, name, found);
    case Kind::dict:
      return method_of(kDictMethods, object, name, found);
    case Kind::list:
      return method_of(kListMethods, object, name, found);
    case Kind::tuple:
      // groupby's pairs have names.
      if (object.items().size() == 2 && (name == "grouper" || name == "list")) {
        found = true;
        return object.items()[name == "list" ? 1 : 0];
      }
      if (name == "copy") return Value();
      return method_of(kListMethods, object, name, found);
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      return number_attribute(object, name, found);
    case Kind::range:
      found = name == "start" || name == "stop" || name == "step";
      return found ? Value::of(name == "start"  ? object.as<Range>().start
                               : name == "stop" ? object.as<Range>().stop
                                                : object.as<Range>().step)
                   : Value();
    case Kind::loop:
      return object.as<Loop>().attribute(name, found);
    case Kind::function:
      found = name == "name" && object.as<Function>().macro;
      return found ? Value::text(object.as<Function>().name) : Value();
    default:
      return Value();
  }
}

}  // namespace nibble::jinja
