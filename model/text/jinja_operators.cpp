// Arithmetic, subscripts and slices with Python's rules: // and % round towards minus infinity,
// true division gives floats, indices count from the end when negative.
#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "model/text/jinja_unicode.h"
#include "model/text/jinja_value.h"

namespace nibble::jinja {

namespace {

[[noreturn]] void unsupported(std::string_view op, const Value& a, const Value& b) {
  if (a.is(Kind::undefined)) throw Failure(a.why());
  if (b.is(Kind::undefined)) throw Failure(b.why());
  const char* left = type_name(a);
  if (op == "+" && (a.is_text() || a.is_sequence())) {
    type_error(cat("can only concatenate ", left, " (not \"", type_name(b), "\") to ", left));
  }
  if (op == "*" && (a.is_text() || a.is_sequence() || b.is_text() || b.is_sequence())) {
    const bool first = a.is_text() || a.is_sequence();
    type_error(cat("can't multiply sequence by non-int of type '", type_name(first ? b : a), "'"));
  }
  type_error(cat("unsupported operand type(s) for ", op == "**" ? "** or pow()" : op, ": '", left,
                 "' and '", type_name(b), "'"));
}

// By reference: the flag and the value come from one builtin, in no set order.
int64_t fits(bool overflow, const int64_t& value) {
  if (overflow) throw Failure("an integer does not fit in 64 bits");
  return value;
}

[[noreturn]] void division_by_zero() { throw Failure("ZeroDivisionError: division by zero"); }

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) division_by_zero();
  if (b == -1) return fits(a == INT64_MIN, a == INT64_MIN ? 0 : -a);
  const int64_t q = a / b;
  return q - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

int64_t floor_modulo(int64_t a, int64_t b) {
  if (b == 0) division_by_zero();
  if (b == -1) return 0;
  const int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

// CPython's float_divmod.
void float_divide(double a, double b, double& quotient, double& remainder) {
  if (b == 0) division_by_zero();
  remainder = std::fmod(a, b);
  double div = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      div -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (div != 0) {
    quotient = std::floor(div);
    if (div - quotient > 0.5) quotient += 1;
  } else {
    quotient = std::copysign(0.0, a / b);
  }
}

Value power(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral() && b.integer() >= 0) {
    int64_t base = a.integer(), result = 1;
    bool over_base = false;  // only matters when the square is used again
    for (int64_t n = b.integer(); n > 0; n >>= 1) {
      if ((n & 1) != 0) {
        fits(over_base, 0);
        fits(__builtin_mul_overflow(result, base, &result), 0);
      }
      over_base = __builtin_mul_overflow(base, base, &base) || over_base;
    }
    return Value::of(result);
  }
  const double x = a.real(), y = b.real();
  if (x == 0 && y < 0) division_by_zero();
  if (x < 0 && y != std::floor(y) && std::isfinite(y)) {
    type_error("a negative number to a fractional power is complex");
  }
  const double result = std::pow(x, y);
  if (std::isinf(result) && std::isfinite(x) && std::isfinite(y)) {
    throw Failure("OverflowError: result too large");
  }
  return Value::of(result);
}

Value integer_operation(std::string_view op, int64_t a, int64_t b) {
  int64_t r = 0;
  if (op == "+") return Value::of(fits(__builtin_add_overflow(a, b, &r), r));
  if (op == "-") return Value::of(fits(__builtin_sub_overflow(a, b, &r), r));
  if (op == "*") return Value::of(fits(__builtin_mul_overflow(a, b, &r), r));
  if (op == "//") return Value::of(floor_divide(a, b));
  return Value::of(floor_modulo(a, b));
}

Value float_operation(std::string_view op, double a, double b) {
  if (op == "+") return Value::of(a + b);
  if (op == "-") return Value::of(a - b);
  if (op == "*") return Value::of(a * b);
  double quotient = 0, remainder = 0;
  float_divide(a, b, quotient, remainder);
  return Value::of(op == "//" ? quotient : remainder);
}

Value repeat(Runtime& runtime, const Value& what, int64_t times) {
  times = std::max<int64_t>(times, 0);
  if (what.is_text()) {
    const auto size = static_cast<int64_t>(what.bytes().size());
    if (size == 0) times = 0;
    if (times > 0) runtime.check_size(times > runtime.max_bytes / size ? runtime.max_bytes + 1 : 0);
    std::string out;
    out.reserve(static_cast<size_t>(size * times));
    for (int64_t i = 0; i < times; ++i) out += what.bytes();
    return runtime.text(std::move(out), what.is_markup());
  }
  const auto size = static_cast<int64_t>(what.items().size());
  if (size == 0) times = 0;
  if (size > 0) runtime.charge(times > kMaxValueWeight ? kMaxValueWeight : size * times);
  Items items;
  for (int64_t i = 0; i < times; ++i) {
    items.insert(items.end(), what.items().begin(), what.items().end());
  }
  return what.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

bool repeatable(const Value& v) { return v.is_text() || v.is_sequence(); }

std::string object_name(const Value& v) {
  return v.is(Kind::none) ? "None" : cat(type_name(v), " object");
}

Value missing(const Value& object, const Value& key) {
  if (key.is_text()) {
    return Value::undefined(
        cat("'", object_name(object), "' has no attribute '", key.bytes(), "'"));
  }
  const std::string shown = key.is(Kind::integer) ? cat(" ", key.integer()) : std::string();
  return Value::undefined(cat(object_name(object), " has no element", shown));
}

Value at_index(const Value& object, int64_t i, const Value& key) {
  const int64_t size = length(object);
  if (i < 0) i += size;
  if (i < 0 || i >= size) return missing(object, key);
  if (object.is(Kind::range)) return Value::of(object.as<Range>().at(i));
  if (!object.is_text()) return object.items()[static_cast<size_t>(i)];
  const std::string& text = object.bytes();
  if (object.as<Text>().ascii) return Value::text(std::string(1, text[i]), object.is_markup());
  size_t at = 0;
  for (; i > 0; --i) next_point(text, at);
  const size_t start = at;
  next_point(text, at);
  return Value::text(text.substr(start, at - start), object.is_markup());
}

int64_t slice_bound(const Value& v, int64_t fallback) {
  if (v.is(Kind::none)) return fallback;
  if (!v.is_integral()) type_error("slice indices must be integers or None");
  return v.integer();
}

}  // namespace

Value add(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_text() && b.is_text()) {
    if (a.is_markup() == b.is_markup()) return runtime.text(a.bytes() + b.bytes(), a.is_markup());
    return a.is_markup() ? runtime.text(a.bytes() + escape_html(b.bytes()), true)
                         : runtime.text(escape_html(a.bytes()) + b.bytes(), true);
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    runtime.charge(static_cast<int64_t>(a.items().size() + b.items().size()));
    Items items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return a.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
  }
  if (!a.is_number() || !b.is_number()) unsupported("+", a, b);
  return a.is_integral() && b.is_integral() ? integer_operation("+", a.integer(), b.integer())
                                            : Value::of(a.real() + b.real());
}

Value arithmetic(Runtime& runtime, std::string_view op, const Value& a, const Value& b) {
  if (op == "+") return add(runtime, a, b);
  if (op == "%" && a.is_text()) return percent_format(runtime, a, b);
  if (op == "*" && repeatable(a) && b.is_integral()) return repeat(runtime, a, b.integer());
  if (op == "*" && repeatable(b) && a.is_integral()) return repeat(runtime, b, a.integer());
  if (!a.is_number() || !b.is_number()) unsupported(op, a, b);
  if (op == "**") return power(a, b);
  if (op == "/") {
    if (b.real() == 0) division_by_zero();
    return Value::of(a.real() / b.real());
  }
  return a.is_integral() && b.is_integral() ? integer_operation(op, a.integer(), b.integer())
                                            : float_operation(op, a.real(), b.real());
}

Value negate(const Value& v) {
  if (v.is(Kind::undefined)) throw Failure(v.why());
  if (v.is(Kind::real)) return Value::of(-v.real());
  if (!v.is_integral()) type_error(cat("bad operand type for unary -: '", type_name(v), "'"));
  return Value::of(fits(v.integer() == INT64_MIN, -std::max(v.integer(), -INT64_MAX)));
}

Value positive(const Value& v) {
  if (v.is(Kind::undefined)) throw Failure(v.why());
  if (v.is(Kind::real)) return v;
  if (!v.is_integral()) type_error(cat("bad operand type for unary +: '", type_name(v), "'"));
  return Value::of(v.integer());
}

Value get_attribute(const Value& object, const std::string& name) {
  if (object.is(Kind::undefined)) throw Failure(object.why());
  bool found = false;
  Value value = find_attribute(object, name, found);
  if (found) return value;
  if (object.is(Kind::dict)) {
    if (const Value* entry = object.dict().find(name)) return *entry;
  }
  return missing(object, Value::text(name));
}

Value get_item(const Value& object, const Value& key) {
  switch (object.kind()) {
    case Kind::undefined:
      throw Failure(object.why());
    case Kind::dict: {
      const bool unhashable = key.is(Kind::list) || key.is(Kind::dict) || key.is(Kind::view);
      const Value* entry = unhashable ? nullptr : object.dict().find(key);
      if (entry != nullptr) return *entry;
      break;
    }
    case Kind::text:
    case Kind::list:
    case Kind::tuple:
    case Kind::range:
      if (key.is_integral()) return at_index(object, key.integer(), key);
      break;
    default:
      break;
  }
  if (key.is_text()) {
    bool found = false;
    Value value = find_attribute(object, key.bytes(), found);
    if (found) return value;
  }
  return missing(object, key);
}

Range slice_range(const Slice& slice, int64_t size) {
  const int64_t step = slice_bound(slice.step, 1);
  if (step == 0) throw Failure("ValueError: slice step cannot be zero");
  const int64_t low = step < 0 ? -1 : 0;
  const int64_t high = step < 0 ? size - 1 : size;
  const auto clamp = [&](const Value& v, int64_t fallback) {
    if (v.is(Kind::none)) return fallback;
    const int64_t i = slice_bound(v, 0);
    return i < 0 ? std::max(i + size, low) : std::min(i, high);
  };
  const int64_t start = clamp(slice.start, step < 0 ? high : low);
  const int64_t stop = clamp(slice.stop, step < 0 ? low : high);
  // A step beyond the whole takes one element at most; keep it from overflowing.
  return {start, stop, std::clamp(step, -size - 1, size + 1)};
}

Value get_slice(Runtime& runtime, const Value& object, const Slice& slice) {
  if (object.is(Kind::undefined)) throw Failure(object.why());
  if (!object.is_text() && !object.is_sequence() && !object.is(Kind::range)) {
    type_error(object.is(Kind::dict)
                   ? std::string("unhashable type: 'slice'")
                   : cat("'", type_name(object), "' object is not subscriptable"));
  }
  const Range range = slice_range(slice, length(object));
  runtime.charge_bytes(object.is_text() ? object.bytes().size() : 0);
  if (object.is(Kind::range)) {
    const Range& r = object.as<Range>();
    return Value::range({r.at(range.start), r.at(range.stop), r.step * range.step});
  }
  if (object.is_text()) {
    const std::string& bytes = object.bytes();
    if (object.as<Text>().ascii && range.step == 1) {
      const int64_t size = std::max<int64_t>(range.stop - range.start, 0);
      return Value::text(size == 0 ? "" : bytes.substr(range.start, size), object.is_markup());
    }
    runtime.charge_text(bytes.size());
    if (range.step == 1) {
      size_t begin = 0;
      for (int64_t i = 0; i < range.start; ++i) next_point(bytes, begin);
      size_t end = begin;
      for (int64_t i = range.start; i < range.stop; ++i) next_point(bytes, end);
      return Value::text(bytes.substr(begin, end - begin), object.is_markup());
    }
    const std::u32string all = points(bytes);
    std::u32string out;
    for (int64_t i = 0; i < range.size(); ++i) out += all[range.at(i)];
    return Value::text(utf8(out), object.is_markup());
  }
  runtime.charge(range.size());
  Items items;
  for (int64_t i = 0; i < range.size(); ++i) items.push_back(object.items()[range.at(i)]);
  return object.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

}  // namespace nibble::jinja
