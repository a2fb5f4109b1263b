// Python's protocols on template values: truth, equality, order, length, iteration, hashing; and
// the limits that one rendering runs under.
#include "model/text/jinja_value.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "model/text/jinja_unicode.h"

namespace nibble::jinja {

namespace {

constexpr size_t kIndexFrom = 8;  // smaller dicts are searched entry by entry

// An integer and a float compare exactly, not after rounding to double.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) {
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
  }
  const long double x = a.is_integral() ? static_cast<long double>(a.integer()) : a.real();
  const long double y = b.is_integral() ? static_cast<long double>(b.integer()) : b.real();
  if (std::isnan(x) || std::isnan(y)) return 2;
  return x < y ? -1 : x > y;
}

bool equal_items(const Items& a, const Items& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), equal);
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = b.find(key);
    if (other == nullptr || !equal(value, *other)) return false;
  }
  return true;
}

bool equal_ranges(const Range& a, const Range& b) {
  if (a.size() != b.size()) return false;
  if (a.size() == 0) return true;
  return a.start == b.start && (a.size() == 1 || a.step == b.step);
}

std::function<bool(Value&)> iterate_text(const Value& v) {
  return [v, at = size_t{0}](Value& out) mutable {
    const std::string& text = v.bytes();
    if (at >= text.size()) return false;
    const size_t start = at;
    next_point(text, at);
    out = Value::text(text.substr(start, at - start));
    return true;
  };
}

std::function<bool(Value&)> iterate_dict(const Value& v, ViewOf of) {
  return [v, of, at = size_t{0}](Value& out) mutable {
    const auto& entries = v.dict().entries;
    if (at >= entries.size()) return false;
    const auto& [key, value] = entries[at++];
    out = of == ViewOf::keys ? key : of == ViewOf::values ? value : Value::tuple({key, value});
    return true;
  };
}

std::string hash_number(const Value& v) {
  const double d = v.real();
  if (v.is_integral() || (d == std::floor(d) && std::fabs(d) < 9.2e18)) {
    return cat("i", v.is_integral() ? v.integer() : static_cast<int64_t>(d));
  }
  return "f" + float_repr(d);
}

}  // namespace

void type_error(std::string message) { throw Failure("TypeError: " + std::move(message)); }

int64_t Range::size() const {
  if (step > 0) return start < stop ? (stop - start - 1) / step + 1 : 0;
  return start > stop ? (start - stop - 1) / -step + 1 : 0;
}

// ---- making values ----

void Value::measure(int depth, int64_t weight) {
  if (depth > kMaxValueDepth) throw Failure(cat("a value nests deeper than ", kMaxValueDepth));
  if (weight > kMaxValueWeight)
    throw Failure(cat("a value holds more than ", kMaxValueWeight, " elements"));
  depth_ = static_cast<int16_t>(depth);
  weight_ = static_cast<int32_t>(weight);
}

Value Value::undefined(std::string why) {
  Value v;
  v.object_ = std::make_shared<std::string>(std::move(why));
  return v;
}

Value Value::of(bool b) {
  Value v(Kind::boolean);
  v.i_ = b ? 1 : 0;
  return v;
}

Value Value::of(int64_t i) {
  Value v(Kind::integer);
  v.i_ = i;
  return v;
}

Value Value::of(double d) {
  Value v(Kind::real);
  v.d_ = d;
  return v;
}

Value Value::text(std::string bytes, bool markup) {
  Value v(Kind::text);
  const bool ascii = is_ascii(bytes);
  v.measure(0, 1 + static_cast<int64_t>(bytes.size() / 64));
  v.object_ = std::make_shared<Text>(Text{std::move(bytes), ascii, markup});
  return v;
}

Value Value::sequence(Kind kind, Items items) {
  Value v(kind);
  int depth = 0;
  int64_t weight = 1;
  for (const Value& item : items) {
    depth = std::max<int>(depth, item.depth_ + 1);
    weight += item.weight_;
  }
  v.measure(depth, weight);
  v.object_ = std::make_shared<Items>(std::move(items));
  return v;
}

Value Value::dict(Dict dict) {
  Value v(Kind::dict);
  int depth = 0;
  int64_t weight = 1;
  for (const auto& [key, value] : dict.entries) {
    depth = std::max({depth, key.depth_ + 1, value.depth_ + 1});
    weight += int64_t{key.weight_} + value.weight_;
  }
  v.measure(depth, weight);
  v.object_ = std::make_shared<Dict>(std::move(dict));
  return v;
}

Value Value::range(Range range) { return object(Kind::range, std::make_shared<Range>(range)); }

bool Value::is_number() const { return is_integral() || kind_ == Kind::real; }

const std::string& Value::why() const {
  static const std::string kNameless = "a value is undefined";
  return object_ ? as<std::string>() : kNameless;
}

Value make_function(std::string name, std::function<Value(Call&)> call, const Value& inner) {
  auto function = std::make_shared<Function>();
  function->name = std::move(name);
  function->call = std::move(call);
  return Value::object(Kind::function, std::move(function), inner);
}

Value make_iterator(std::function<bool(Value&)> next, std::string label, const Value& inner) {
  auto iterator = std::make_shared<Iterator>();
  iterator->next = std::move(next);
  iterator->label = std::move(label);
  return Value::object(Kind::iterator, std::move(iterator), inner);
}

Value from_json(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return Value::none();
    case Json::value_t::boolean:
      return Value::of(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::of(json.get<int64_t>());
    case Json::value_t::number_unsigned: {
      const auto n = json.get<uint64_t>();
      constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
      if (n > kMost) throw Failure(cat("the integer ", n, " does not fit in 64 bits"));
      return Value::of(static_cast<int64_t>(n));
    }
    case Json::value_t::number_float:
      return Value::of(json.get<double>());
    case Json::value_t::string:
      return Value::text(json.get_ref<const std::string&>());
    case Json::value_t::array: {
      Items items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(from_json(item));
      return Value::list(std::move(items));
    }
    case Json::value_t::object: {
      Dict dict;
      for (const auto& [key, value] : json.items()) dict.set(Value::text(key), from_json(value));
      return Value::dict(std::move(dict));
    }
    default:
      throw Failure("binary values cannot reach a template");
  }
}

// ---- dicts and arguments ----

void Dict::set(Value key, Value value) {
  std::string hash = hash_key(key);
  const auto found = index_.find(hash);
  if (found != index_.end()) {
    entries[found->second].second = std::move(value);
    return;
  }
  index_.emplace(std::move(hash), entries.size());
  entries.emplace_back(std::move(key), std::move(value));
}

const Value* Dict::find(const Value& key) const {
  if (key.is_text()) return find(key.bytes());
  const auto found = index_.find(hash_key(key));
  return found == index_.end() ? nullptr : &entries[found->second].second;
}

const Value* Dict::find(std::string_view key) const {
  if (entries.size() < kIndexFrom) {
    for (const auto& [k, v] : entries) {
      if (k.is_text() && k.bytes() == key) return &v;
    }
    return nullptr;
  }
  const auto found = index_.find(cat("s", key));
  return found == index_.end() ? nullptr : &entries[found->second].second;
}

std::vector<const Value*> Call::bind(std::string_view function, std::vector<std::string_view> names,
                                     size_t required) const {
  if (args.size() > names.size()) {
    type_error(cat(function, "() takes at most ", names.size(), " arguments, got ", args.size()));
  }
  std::vector<const Value*> bound(names.size(), nullptr);
  for (size_t i = 0; i < args.size(); ++i) bound[i] = &args[i];
  for (const auto& [name, value] : named) {
    const auto at = std::find(names.begin(), names.end(), name);
    if (at == names.end()) type_error(cat(function, "() got an unexpected argument '", name, "'"));
    const Value*& slot = bound[static_cast<size_t>(at - names.begin())];
    if (slot != nullptr) type_error(cat(function, "() got two values for '", name, "'"));
    slot = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound[i] == nullptr) type_error(cat(function, "() needs the argument '", names[i], "'"));
  }
  return bound;
}

// ---- protocols ----

const char* type_name(const Value& v) {
  constexpr std::array<const char*, 15> kNames = {
      "Undefined", "NoneType",  "bool",      "int",      "float",
      "str",       "list",      "tuple",     "dict",     "range",
      "dict_view", "generator", "Namespace", "function", "LoopContext"};
  return kNames[static_cast<size_t>(v.kind())];
}

bool truthy(const Value& v) {
  switch (v.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return v.integer() != 0;
    case Kind::real:
      return v.real() != 0;
    case Kind::text:
      return !v.bytes().empty();
    case Kind::list:
    case Kind::tuple:
      return !v.items().empty();
    case Kind::dict:
    case Kind::range:
    case Kind::view:
      return length(v) > 0;
    default:
      return true;
  }
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::text:
      return a.bytes() == b.bytes();
    case Kind::list:
    case Kind::tuple:
      return a.identity() == b.identity() || equal_items(a.items(), b.items());
    case Kind::dict:
      return a.identity() == b.identity() || equal_dicts(a.dict(), b.dict());
    case Kind::range:
      return equal_ranges(a.as<Range>(), b.as<Range>());
    case Kind::view: {
      const View& x = a.as<View>();
      const View& y = b.as<View>();
      return x.of == y.of && x.of != ViewOf::values && equal_dicts(x.dict.dict(), y.dict.dict());
    }
    default:
      return a.identity() == b.identity();
  }
}

int compare(const Value& a, const Value& b, std::string_view op) {
  if (a.is(Kind::undefined)) throw Failure(a.why());
  if (b.is(Kind::undefined)) throw Failure(b.why());
  if (a.is_number() && b.is_number()) return compare_numbers(a, b);
  if (a.is_text() && b.is_text()) {
    // UTF-8 keeps the order of code points.
    const int order = a.bytes().compare(b.bytes());
    return order < 0 ? -1 : order > 0;
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    const Items& x = a.items();
    const Items& y = b.items();
    for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
      if (!equal(x[i], y[i])) return compare(x[i], y[i], op);
    }
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  type_error(cat("'", op, "' not supported between instances of '", type_name(a), "' and '",
                 type_name(b), "'"));
}

bool less(const Value& a, const Value& b) { return compare(a, b, "<") == -1; }

bool contains(const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::text:
      if (!item.is_text()) {
        type_error(cat("'in <string>' requires string as left operand, not ", type_name(item)));
      }
      return find_text(container.bytes(), item.bytes(), 0) != std::string::npos;
    case Kind::dict:
      return container.dict().find(item) != nullptr;
    case Kind::list:
    case Kind::tuple: {
      const Items& items = container.items();
      return std::any_of(items.begin(), items.end(),
                         [&](const Value& v) { return equal(v, item); });
    }
    case Kind::range: {
      const Range& r = container.as<Range>();
      if (!item.is_number() || item.real() != std::floor(item.real())) return false;
      const auto n = static_cast<int64_t>(item.real());
      const int64_t k = (n - r.start) / r.step;
      return k >= 0 && k < r.size() && r.at(k) == n;
    }
    default: {
      if (!iterable(container))
        type_error(cat("argument of type '", type_name(container), "' is not iterable"));
      auto next = iterate(container);
      for (Value v; next(v);) {
        if (equal(v, item)) return true;
      }
      return false;
    }
  }
}

bool has_length(const Value& v) {
  switch (v.kind()) {
    case Kind::undefined:
    case Kind::text:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::range:
    case Kind::view:
      return true;
    default:
      return false;
  }
}

int64_t length(const Value& v) {
  switch (v.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::text:
      return v.as<Text>().ascii ? static_cast<int64_t>(v.bytes().size()) : count_points(v.bytes());
    case Kind::list:
    case Kind::tuple:
      return static_cast<int64_t>(v.items().size());
    case Kind::dict:
      return static_cast<int64_t>(v.dict().entries.size());
    case Kind::view:
      return static_cast<int64_t>(v.as<View>().dict.dict().entries.size());
    case Kind::range:
      return v.as<Range>().size();
    default:
      type_error(cat("object of type '", type_name(v), "' has no len()"));
  }
}

bool iterable(const Value& v) { return has_length(v) || v.is(Kind::iterator) || v.is(Kind::loop); }

std::function<bool(Value&)> iterate(const Value& v) {
  switch (v.kind()) {
    case Kind::undefined:
      return [](Value&) { return false; };
    case Kind::text:
      return iterate_text(v);
    case Kind::list:
    case Kind::tuple:
      return [v, at = size_t{0}](Value& out) mutable {
        if (at >= v.items().size()) return false;
        out = v.items()[at++];
        return true;
      };
    case Kind::dict:
      return iterate_dict(v, ViewOf::keys);
    case Kind::view:
      return iterate_dict(v.as<View>().dict, v.as<View>().of);
    case Kind::range:
      return [r = v.as<Range>(), at = int64_t{0}](Value& out) mutable {
        if (at >= r.size()) return false;
        out = Value::of(r.at(at++));
        return true;
      };
    case Kind::iterator:
      return [v](Value& out) { return v.as<Iterator>().next(out); };
    default:
      type_error(cat("'", type_name(v), "' object is not iterable"));
  }
}

Items to_items(Runtime& runtime, const Value& v) {
  Items items;
  auto next = iterate(v);
  for (Value item; next(item);) {
    runtime.charge(1);
    items.push_back(std::move(item));
  }
  return items;
}

std::string hash_key(const Value& v) {
  switch (v.kind()) {
    case Kind::undefined:
      return "u";
    case Kind::none:
      return "n";
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      return hash_number(v);
    case Kind::text:
      return "s" + v.bytes();
    case Kind::tuple: {
      std::string key = "(";
      for (const Value& item : v.items()) {
        const std::string inner = hash_key(item);
        key += cat(inner.size(), ":", inner);
      }
      return key;
    }
    case Kind::range:
      return cat("r", v.as<Range>().start, ":", v.as<Range>().size());
    case Kind::list:
    case Kind::dict:
    case Kind::view:
      type_error(cat("unhashable type: '", type_name(v), "'"));
    default:
      return cat("p", static_cast<uint64_t>(reinterpret_cast<uintptr_t>(v.identity())));
  }
}

// ---- limits ----

void Runtime::charge(int64_t n) {
  steps -= n;
  if (steps < 0) throw Failure(cat("the template takes more than ", max_steps, " steps"));
}

void Runtime::charge_search(size_t text, size_t sub) {
  const size_t places = text > sub ? text - sub : 0;
  charge(static_cast<int64_t>((text >> 5) + (places * std::min(sub, text)) / 2048));
}

void Runtime::check_size(int64_t bytes) const {
  if (bytes > max_bytes) throw Failure(cat("a text is longer than ", max_bytes, " bytes"));
}

Value Runtime::text(std::string bytes, bool markup) {
  check_size(static_cast<int64_t>(bytes.size()));
  charge_bytes(bytes.size());
  return Value::text(std::move(bytes), markup);
}

Value Runtime::make_space(Dict attributes) {
  auto space = std::make_shared<Space>();
  space->attributes = std::move(attributes);
  keep([space] { space->attributes = Dict(); });
  return Value::object(Kind::space, std::move(space));
}

Runtime::~Runtime() {
  for (auto& drop : drops_) drop();
}

}  // namespace nibble::jinja
