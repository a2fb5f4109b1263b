// The values a template computes with: Python's, as far as a sandboxed template can tell. Lists and
// dicts never change once built (the sandbox refuses mutation), so copies share them. Each value
// knows how deeply it nests and how much printing it costs, so that neither [x] nor [x, x] in a
// loop can overflow the stack or run for ever.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json.h"

namespace nibble::jinja {

// A template's mistake (or its raise_exception); render() adds the place and makes it a UserError.
class Failure : public std::exception {
 public:
  explicit Failure(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

enum class Kind : uint8_t {
  undefined,
  none,
  boolean,
  integer,
  real,
  text,
  list,
  tuple,
  dict,
  range,
  view,
  iterator,
  space,
  function,
  loop
};

class Value;
using Items = std::vector<Value>;
struct Dict;
class Runtime;

inline constexpr int kMaxValueDepth = 200;
inline constexpr int64_t kMaxValueWeight = int64_t{1} << 24;

struct Text {
  std::string bytes;    // UTF-8
  bool ascii = true;    // index = byte offset
  bool markup = false;  // came from |escape or |safe: joining escapes the other side
};

struct Range {
  int64_t start = 0, stop = 0, step = 1;
  int64_t size() const;
  int64_t at(int64_t i) const { return start + i * step; }
};

class Value {
 public:
  Value() = default;  // undefined, without a name
  static Value undefined(std::string why);
  static Value none() { return Value(Kind::none); }
  static Value of(bool b);
  static Value of(int64_t i);
  static Value of(double d);
  static Value text(std::string bytes, bool markup = false);
  static Value list(Items items) { return sequence(Kind::list, std::move(items)); }
  static Value tuple(Items items) { return sequence(Kind::tuple, std::move(items)); }
  static Value dict(Dict dict);
  static Value range(Range range);
  // An object of one of the kinds below; `inner` is what it holds.
  template <class T>
  static Value object(Kind kind, std::shared_ptr<T> object) {
    Value v(kind);
    v.object_ = std::move(object);
    return v;
  }
  template <class T>
  static Value object(Kind kind, std::shared_ptr<T> object, const Value& inner) {
    Value v = Value::object(kind, std::move(object));
    v.measure(inner.depth_ + 1, int64_t{inner.weight_} + 1);
    return v;
  }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_text() const { return kind_ == Kind::text; }
  bool is_number() const;  // boolean, integer or real
  bool is_integral() const { return kind_ == Kind::integer || kind_ == Kind::boolean; }
  bool is_sequence() const { return kind_ == Kind::list || kind_ == Kind::tuple; }
  bool is_markup() const { return is_text() && as<Text>().markup; }

  int64_t integer() const { return i_; }  // of boolean and integer
  double real() const { return kind_ == Kind::real ? d_ : static_cast<double>(i_); }
  const std::string& bytes() const { return as<Text>().bytes; }
  const Items& items() const { return as<Items>(); }  // of list and tuple
  const Dict& dict() const { return as<Dict>(); }
  const std::string& why() const;  // of undefined: what to say when it is used
  template <class T>
  T& as() const {
    return *static_cast<T*>(object_.get());
  }
  template <class T>
  std::shared_ptr<T> share() const {
    return std::static_pointer_cast<T>(object_);
  }
  const void* identity() const { return object_.get(); }
  int depth() const { return depth_; }
  int64_t weight() const { return weight_; }  // values inside, one for each 64 bytes of text

 private:
  explicit Value(Kind kind) : kind_(kind) {}
  static Value sequence(Kind kind, Items items);
  void measure(int depth, int64_t weight);  // Failure past the limits

  Kind kind_ = Kind::undefined;
  int16_t depth_ = 0;
  int32_t weight_ = 1;
  union {
    int64_t i_ = 0;
    double d_;
  };
  std::shared_ptr<void> object_;
};

// Insertion order, as Python keeps it. Keys may be any hashable value; 1, 1.0 and true are one key.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;

  void set(Value key, Value value);
  const Value* find(const Value& key) const;  // unhashable key: Failure
  const Value* find(std::string_view key) const;

 private:
  std::unordered_map<std::string, size_t> index_;
};

enum class ViewOf : uint8_t { keys, values, items };
struct View {
  Value dict;
  ViewOf of;
};

// A generator: what map, select and their kin return. It runs once and is then empty.
struct Iterator {
  std::function<bool(Value&)> next;  // false: at the end
  std::string label;
};

struct Space {  // namespace(): the one thing a template can change
  Dict attributes;
};

// Arguments of one call, still unnamed and named.
struct Call {
  Runtime& runtime;
  Items args;
  std::vector<std::pair<std::string, Value>> named;

  // Puts arguments in the order of `names`, Python's rules; missing ones are null. The first
  // `required` must be there.
  std::vector<const Value*> bind(std::string_view function, std::vector<std::string_view> names,
                                 size_t required = 0) const;
};

struct Function {
  std::string name;
  std::function<Value(Call&)> call;
  bool macro = false;
};

struct Loop {  // the variable `loop` of a for
  std::function<Value(const std::string&, bool& found)> attribute;
  std::function<Value(Call&)> call;  // of a recursive one
};

// `inner` is what the function keeps alive (the receiver of a method).
Value make_function(std::string name, std::function<Value(Call&)> call,
                    const Value& inner = Value());
Value make_iterator(std::function<bool(Value&)> next, std::string label,
                    const Value& inner = Value());

// ---- conversion ----
Value from_json(const Json& json);

// ---- Python's protocols ----
const char* type_name(const Value& v);
bool truthy(const Value& v);
bool equal(const Value& a, const Value& b);
int compare(const Value& a, const Value& b, std::string_view op);  // <0, 0, >0; 2: unordered (nan)
bool less(const Value& a, const Value& b);                         // for sorting: a < b
bool contains(const Value& container, const Value& item);
int64_t length(const Value& v);  // TypeError where Python has none
bool has_length(const Value& v);
bool iterable(const Value& v);
std::function<bool(Value&)> iterate(const Value& v);
Items to_items(Runtime& runtime, const Value& v);  // list(v); charges every element
std::string hash_key(const Value& v);  // equal values, equal strings; unhashable: Failure

// ---- printing ----
std::string float_repr(double d);
std::string to_str(Runtime& runtime, const Value& v);   // str(v)
std::string to_repr(Runtime& runtime, const Value& v);  // repr(v)
struct JsonStyle {
  bool ascii = false, sort_keys = false, pretty = false;
  std::string indent, item_separator = ", ", key_separator = ": ";
};
std::string to_json_text(Runtime& runtime, const Value& v, const JsonStyle& style);

// ---- operators ----
Value add(Runtime& runtime, const Value& a, const Value& b);
// op is one of - * / // % ** (and + as above)
Value arithmetic(Runtime& runtime, std::string_view op, const Value& a, const Value& b);
Value negate(const Value& v);
Value positive(const Value& v);
Value get_attribute(const Value& object, const std::string& name);  // a.b
Value get_item(const Value& object, const Value& key);              // a[b]
struct Slice {
  Value start, stop, step;  // none where left out
};
Value get_slice(Runtime& runtime, const Value& object, const Slice& slice);
// The method or property `name` of a value, or undefined with found = false. What would change a
// list or dict is found and undefined: the sandbox refuses it when it is called.
Value find_attribute(const Value& object, const std::string& name, bool& found);
// Positions of a slice in a sequence of `size`, Python's rules.
Range slice_range(const Slice& slice, int64_t size);
// "format" % args and "{}".format(…), Python's rules.
Value percent_format(Runtime& runtime, const Value& format, const Value& args);
Value brace_format(const Value& format, Call& call);
[[noreturn]] void type_error(std::string message);

// ---- limits and what one rendering owns ----
class Runtime {
 public:
  int64_t steps = 0, max_steps = 0;  // left, and at the start
  int64_t max_bytes = 0;             // of one string
  int depth = 0, max_depth = 0;
  int nesting = 0;  // of evaluation inside evaluation
  std::function<std::string(const std::string&)> strftime;

  void charge(int64_t n);
  void charge_walk(const Value& v) { charge(v.weight() >> 3); }  // before walking all of v
  void charge_text(size_t bytes) { charge(static_cast<int64_t>(bytes >> 5)); }  // read by character
  void charge_search(size_t text, size_t sub);  // a search that may look at all of both
  void charge_bytes(size_t bytes) { charge(static_cast<int64_t>(bytes >> 7)); }
  void check_size(int64_t bytes) const;
  Value text(std::string bytes, bool markup = false);  // charged and within the limit
  // Namespaces and captured scopes may point at each other: they are emptied when rendering ends.
  void keep(std::function<void()> drop) { drops_.push_back(std::move(drop)); }
  Value make_space(Dict attributes);
  ~Runtime();

 private:
  std::vector<std::function<void()>> drops_;
};

}  // namespace nibble::jinja
