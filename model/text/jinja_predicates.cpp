// The tests behind "is": x is defined, x is mapping, x is divisibleby(3).
#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.h"
#include "model/text/jinja_filters.h"
#include "model/text/jinja_unicode.h"

namespace nibble::jinja {

namespace {

struct Row {
  std::string_view name;
  Test test;
};

template <Kind kKind>
bool is_kind(const Value& v, Call& call) {
  call.bind("test", {});
  return v.is(kKind);
}

const Value& argument(Call& call) { return *call.bind("test", {"other"}, 1)[0]; }

bool defined(const Value& v, Call&) { return !v.is(Kind::undefined); }
bool number(const Value& v, Call&) { return v.is_number(); }
bool is_true(const Value& v, Call&) { return v.is(Kind::boolean) && v.integer() != 0; }
bool is_false(const Value& v, Call&) { return v.is(Kind::boolean) && v.integer() == 0; }
bool sequence(const Value& v, Call&) {
  // A view has a length but no items; Undefined refuses __getitem__ only when it is called.
  return has_length(v) && !v.is(Kind::view);
}
bool is_iterable(const Value& v, Call&) { return iterable(v); }
bool is_callable(const Value& v, Call&) {
  return v.is(Kind::function) || v.is(Kind::undefined) || v.is(Kind::loop);
}
bool escaped(const Value& v, Call&) { return v.is_markup(); }

bool modulo_is(const Value& v, const Value& by, int64_t rest, Call& call) {
  return equal(arithmetic(call.runtime, "%", v, by), Value::of(rest));
}
bool odd(const Value& v, Call& call) { return modulo_is(v, Value::of(int64_t{2}), 1, call); }
bool even(const Value& v, Call& call) { return modulo_is(v, Value::of(int64_t{2}), 0, call); }
bool divisible(const Value& v, Call& call) { return modulo_is(v, argument(call), 0, call); }

template <bool kUpper>
bool cased(const Value& v, Call& call) {
  bool any = false;
  for (char32_t c : points(to_str(call.runtime, v))) {
    if (is_title_case(c) || (kUpper ? is_cased_lower(c) : is_cased_upper(c))) return false;
    any = any || (kUpper ? is_cased_upper(c) : is_cased_lower(c));
  }
  return any;
}

bool same(const Value& v, Call& call) {
  const Value& other = argument(call);
  if (v.kind() != other.kind()) return false;
  const bool scalar = v.is_number() || v.is_text() || v.is(Kind::none);
  return scalar ? equal(v, other) : v.identity() == other.identity();
}

bool in(const Value& v, Call& call) {
  const Value& container = argument(call);
  call.runtime.charge_walk(container);
  if (container.is_text()) call.runtime.charge_text(container.bytes().size());
  return contains(container, v);
}

bool eq(const Value& v, Call& call) { return equal(v, argument(call)); }
bool ne(const Value& v, Call& call) { return !equal(v, argument(call)); }
bool lt(const Value& v, Call& call) { return compare(v, argument(call), "<") == -1; }
bool gt(const Value& v, Call& call) { return compare(v, argument(call), ">") == 1; }
bool le(const Value& v, Call& call) {
  const int order = compare(v, argument(call), "<=");
  return order == -1 || order == 0;
}
bool ge(const Value& v, Call& call) {
  const int order = compare(v, argument(call), ">=");
  return order == 1 || order == 0;
}

bool is_filter(const Value& v, Call& call) {
  hash_key(v);  // an unhashable value is an error, as it is a key that is looked up
  return v.is_text() && find_filter(to_str(call.runtime, v)) != nullptr;
}
bool is_test(const Value& v, Call& call) {
  hash_key(v);
  return v.is_text() && find_test(to_str(call.runtime, v)) != nullptr;
}

constexpr std::array kRows = {
    Row{"odd", odd},
    Row{"even", even},
    Row{"divisibleby", divisible},
    Row{"defined", defined},
    Row{"undefined", is_kind<Kind::undefined>},
    Row{"filter", is_filter},
    Row{"test", is_test},
    Row{"none", is_kind<Kind::none>},
    Row{"boolean", is_kind<Kind::boolean>},
    Row{"false", is_false},
    Row{"true", is_true},
    Row{"integer", is_kind<Kind::integer>},
    Row{"float", is_kind<Kind::real>},
    Row{"lower", cased<false>},
    Row{"upper", cased<true>},
    Row{"string", is_kind<Kind::text>},
    Row{"mapping", is_kind<Kind::dict>},
    Row{"number", number},
    Row{"sequence", sequence},
    Row{"iterable", is_iterable},
    Row{"callable", is_callable},
    Row{"sameas", same},
    Row{"escaped", escaped},
    Row{"in", in},
    Row{"==", eq},
    Row{"eq", eq},
    Row{"equalto", eq},
    Row{"!=", ne},
    Row{"ne", ne},
    Row{">", gt},
    Row{"gt", gt},
    Row{"greaterthan", gt},
    Row{">=", ge},
    Row{"ge", ge},
    Row{"<", lt},
    Row{"lt", lt},
    Row{"lessthan", lt},
    Row{"<=", le},
    Row{"le", le},
};

}  // namespace

Test find_test(std::string_view name) {
  const auto row =
      std::find_if(kRows.begin(), kRows.end(), [&](const Row& r) { return r.name == name; });
  return row == kRows.end() ? nullptr : row->test;
}

}  // namespace nibble::jinja
