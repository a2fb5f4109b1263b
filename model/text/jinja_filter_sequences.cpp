// Filters on sequences. map, select and their kin are lazy, as in Jinja: they have no length, run
// once, and fail only when they are walked.
#include <algorithm>
#include <array>

#include "base/text.h"
#include "model/text/jinja_filters.h"
#include "model/text/jinja_unicode.h"

namespace nibble::jinja {

namespace {

using Next = std::function<bool(Value&)>;
using Key = std::function<Value(const Value&)>;

Value lower_text(const Value& v) { return v.is_text() ? Value::text(lower(v.bytes())) : v; }

bool flag(const Value* v) { return v != nullptr && truthy(*v); }

// "a.0.b" → a, 0, b
Items path_of(const Value* attribute) {
  Items path;
  if (attribute == nullptr || attribute->is(Kind::none)) return path;
  if (!attribute->is_text()) return {*attribute};
  for (const std::string& part : split(attribute->bytes(), '.')) {
    const bool number = !part.empty() && part.size() < 18 &&
                        part.find_first_not_of("0123456789") == std::string::npos;
    path.push_back(number ? Value::of(int64_t{std::stoll(part)}) : Value::text(part));
  }
  return path;
}

Key getter(const Value* attribute, bool fold, const Value* fallback = nullptr) {
  const bool has_fallback = fallback != nullptr && !fallback->is(Kind::none);
  return [path = path_of(attribute), fold, has_fallback,
          other = has_fallback ? *fallback : Value()](const Value& item) {
    Value v = item;
    for (const Value& part : path) {
      v = get_item(v, part);
      if (has_fallback && v.is(Kind::undefined)) v = other;
    }
    return fold ? lower_text(v) : v;
  };
}

// "a,b": several keys, compared in order.
Key multi_getter(const Value* attribute, bool fold) {
  std::vector<Key> keys;
  if (attribute != nullptr && attribute->is_text()) {
    for (const std::string& part : split(attribute->bytes(), ',')) {
      const Value name = Value::text(part);
      keys.push_back(getter(&name, fold));
    }
  } else {
    keys.push_back(getter(attribute, fold));
  }
  return [keys](const Value& item) {
    Items all;
    for (const Key& key : keys) all.push_back(key(item));
    return Value::list(std::move(all));
  };
}

Items sorted(Runtime& runtime, const Value& input, const Key& key, bool reverse) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : to_items(runtime, input)) keyed.emplace_back(key(item), item);
  int64_t comparisons = 0;  // n log n
  for (size_t left = keyed.size(); left > 0; left /= 2)
    comparisons += static_cast<int64_t>(keyed.size());
  runtime.charge(comparisons);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(b.first, a.first) : less(a.first, b.first);
  });
  Items items;
  for (auto& [k, item] : keyed) items.push_back(std::move(item));
  return items;
}

Value sort(const Value& input, Call& call) {
  const auto bound = call.bind("sort", {"reverse", "case_sensitive", "attribute"});
  return Value::list(
      sorted(call.runtime, input, multi_getter(bound[2], !flag(bound[1])), flag(bound[0])));
}

Value dictsort(const Value& input, Call& call) {
  const auto bound = call.bind("dictsort", {"case_sensitive", "by", "reverse"});
  const std::string by = bound[1] != nullptr ? to_str(call.runtime, *bound[1]) : "key";
  if (by != "key" && by != "value")
    throw Failure("You can only sort by either \"key\" or \"value\"");
  if (input.is(Kind::undefined)) throw Failure(input.why());
  if (!input.is(Kind::dict)) type_error(cat("dictsort needs a dict, got ", type_name(input)));
  Items pairs;
  for (const auto& [key, value] : input.dict().entries) pairs.push_back(Value::tuple({key, value}));
  const Key key = [at = by == "key" ? size_t{0} : size_t{1},
                   fold = !flag(bound[0])](const Value& pair) {
    const Value& v = pair.items()[at];
    return fold ? lower_text(v) : v;
  };
  return Value::list(sorted(call.runtime, Value::list(std::move(pairs)), key, flag(bound[2])));
}

Value unique(const Value& input, Call& call) {
  const auto bound = call.bind("unique", {"case_sensitive", "attribute"});
  auto seen = std::make_shared<Dict>();
  return make_iterator(
      [next = Next(), input, seen, key = getter(bound[1], !flag(bound[0])),
       &runtime = call.runtime](Value& out) mutable {
        if (!next) next = iterate(input);
        while (next(out)) {
          runtime.charge(1);
          const Value k = key(out);
          if (seen->find(k) != nullptr) continue;
          seen->set(k, Value::none());
          return true;
        }
        return false;
      },
      "generator object sync_do_unique", input);
}

template <bool kMax>
Value extreme(const Value& input, Call& call) {
  const auto bound = call.bind("min", {"case_sensitive", "attribute"});
  const Key key = getter(bound[1], !flag(bound[0]));
  Value best, best_key;
  bool any = false;
  for (const Value& item : to_items(call.runtime, input)) {
    const Value k = key(item);
    if (!any || (kMax ? less(best_key, k) : less(k, best_key))) {
      best = item;
      best_key = k;
    }
    any = true;
  }
  return any ? best : Value::undefined("No aggregated item, sequence was empty.");
}

Value sum(const Value& input, Call& call) {
  const auto bound = call.bind("sum", {"attribute", "start"});
  const Key key = getter(bound[0], false);
  Value total = bound[1] != nullptr ? *bound[1] : Value::of(int64_t{0});
  if (total.is_text()) type_error("sum() can't sum strings");
  for (const Value& item : to_items(call.runtime, input))
    total = add(call.runtime, total, key(item));
  return total;
}

Value groupby(const Value& input, Call& call) {
  const auto bound = call.bind("groupby", {"attribute", "default", "case_sensitive"}, 1);
  const Key key = getter(bound[0], !flag(bound[2]), bound[1]);
  const Key shown = getter(bound[0], false, bound[1]);
  Items groups, members;
  const auto flush = [&] {
    if (members.empty()) return;
    const Value name = shown(members[0]);
    groups.push_back(Value::tuple({name, Value::list(std::move(members))}));
    members.clear();
  };
  for (Value& item : sorted(call.runtime, input, key, false)) {
    if (!members.empty() && !equal(key(members[0]), key(item))) flush();
    members.push_back(std::move(item));
  }
  flush();
  return Value::list(std::move(groups));
}

Value first(const Value& input, Call& call) {
  call.bind("first", {});
  Value v;
  return iterate(input)(v) ? v : Value::undefined("No first item, sequence was empty.");
}

Items reversed(Runtime& runtime, const Value& input) {
  if (!has_length(input)) type_error(cat("'", type_name(input), "' object is not reversible"));
  Items items = to_items(runtime, input);
  std::reverse(items.begin(), items.end());
  return items;
}

Value last(const Value& input, Call& call) {
  call.bind("last", {});
  if (input.is(Kind::list) || input.is(Kind::tuple)) {
    return input.items().empty() ? Value::undefined("No last item, sequence was empty.")
                                 : input.items().back();
  }
  const Items items = reversed(call.runtime, input);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items[0];
}

// A generator that computes all its items when the first is asked for.
Value walk_once(std::function<Items()> compute, std::string label, const Value& inner) {
  return make_iterator(
      [next = Next(), compute = std::move(compute)](Value& out) mutable {
        if (!next) next = iterate(Value::list(compute()));
        return next(out);
      },
      std::move(label), inner);
}

Value reverse(const Value& input, Call& call) {
  call.bind("reverse", {});
  if (input.is_text()) {
    const std::u32string all = points(input.bytes());
    return call.runtime.text(utf8(std::u32string(all.rbegin(), all.rend())), input.is_markup());
  }
  if (has_length(input)) {
    return walk_once([items = reversed(call.runtime, input)] { return items; },
                     "list_reverseiterator object", input);
  }
  Items items = to_items(call.runtime, input);
  std::reverse(items.begin(), items.end());
  return Value::list(std::move(items));
}

Value list(const Value& input, Call& call) {
  call.bind("list", {});
  return Value::list(to_items(call.runtime, input));
}

Value count(const Value& input, Call& call) {
  call.bind("length", {});
  if (input.is(Kind::loop)) return get_attribute(input, "length");
  return Value::of(length(input));
}

Value join(const Value& input, Call& call) {
  const auto bound = call.bind("join", {"d", "attribute"});
  const std::string separator = bound[0] != nullptr ? to_str(call.runtime, *bound[0]) : "";
  const Key key = getter(bound[1], false);
  std::string out;
  bool any = false;
  auto next = iterate(input);
  for (Value item; next(item);) {
    call.runtime.charge(1);
    if (any) out += separator;
    any = true;
    out += to_str(call.runtime, key(item));
    call.runtime.check_size(static_cast<int64_t>(out.size()));
  }
  return call.runtime.text(std::move(out));
}

Value items(const Value& input, Call& call) {
  call.bind("items", {});
  return make_iterator(
      [next = Next(), input](Value& out) mutable {
        if (!next) {
          if (!input.is(Kind::undefined) && !input.is(Kind::dict)) {
            type_error("Can only get item pairs from a mapping.");
          }
          next = iterate(
              input.is(Kind::dict)
                  ? Value::object(Kind::view, std::make_shared<View>(View{input, ViewOf::items}))
                  : input);
        }
        return next(out);
      },
      "generator object do_items", input);
}

int64_t count_of(const Value* v, std::string_view what) {
  if (!v->is_integral()) type_error(cat(what, " needs an integer"));
  return v->integer();
}

Items batches(Runtime& runtime, const Value& input, const Value& linecount, const Value& fill) {
  const int64_t size = count_of(&linecount, "batch");
  Items rows, row;
  for (Value& item : to_items(runtime, input)) {
    if (static_cast<int64_t>(row.size()) == size) {
      rows.push_back(Value::list(std::move(row)));
      row.clear();
    }
    row.push_back(std::move(item));
  }
  if (row.empty()) return rows;
  if (!fill.is(Kind::none)) {
    for (; static_cast<int64_t>(row.size()) < size; runtime.charge(1)) row.push_back(fill);
  }
  rows.push_back(Value::list(std::move(row)));
  return rows;
}

Value batch(const Value& input, Call& call) {
  const auto bound = call.bind("batch", {"linecount", "fill_with"}, 1);
  const Value fill = bound[1] != nullptr ? *bound[1] : Value::none();
  return walk_once([&runtime = call.runtime, input, size = *bound[0],
                    fill] { return batches(runtime, input, size, fill); },
                   "generator object do_batch", Value::tuple({input, *bound[0], fill}));
}

Items columns(Runtime& runtime, const Value& input, const Value& count, const Value& fill) {
  const int64_t slices = count_of(&count, "slice");
  const Items all = to_items(runtime, input);
  if (slices == 0) throw Failure("ZeroDivisionError: integer division or modulo by zero");
  const auto size = static_cast<int64_t>(all.size());
  Items columns;
  int64_t at = 0;
  for (int64_t i = 0; i < slices; ++i) {
    const int64_t take = size / slices + (i < size % slices ? 1 : 0);
    Items column(all.begin() + at, all.begin() + at + take);
    at += take;
    if (!fill.is(Kind::none) && i >= size % slices) column.push_back(fill);
    runtime.charge(take + 2);
    columns.push_back(Value::list(std::move(column)));
  }
  return columns;
}

Value slice(const Value& input, Call& call) {
  const auto bound = call.bind("slice", {"slices", "fill_with"}, 1);
  const Value fill = bound[1] != nullptr ? *bound[1] : Value::none();
  return walk_once([&runtime = call.runtime, input, count = *bound[0],
                    fill] { return columns(runtime, input, count, fill); },
                   "generator object sync_do_slice", Value::tuple({input, *bound[0], fill}));
}

// ---- map, select, reject ----

const Value* named(const Call& call, std::string_view name) {
  for (const auto& [key, value] : call.named) {
    if (key == name) return &value;
  }
  return nullptr;
}

Key mapper(const Call& call) {
  const Value* attribute = named(call, "attribute");
  if (call.args.empty() && attribute != nullptr) {
    const Value* fallback = named(call, "default");
    if (call.named.size() > (fallback != nullptr ? 2U : 1U)) {
      throw Failure("Unexpected keyword argument");
    }
    return getter(attribute, false, fallback);
  }
  if (call.args.empty()) throw Failure("map requires a filter argument");
  const std::string name = to_str(call.runtime, call.args[0]);
  const Filter filter = find_filter(name);
  if (filter == nullptr) throw Failure(cat("No filter named '", name, "'."));
  return [filter, rest = Items(call.args.begin() + 1, call.args.end()), names = call.named,
          &runtime = call.runtime](const Value& item) {
    Call inner{runtime, rest, names};
    if (item.is_text()) runtime.charge_text(item.bytes().size());
    return filter(item, inner);
  };
}

Value map(const Value& input, Call& call) {
  return make_iterator(
      [next = Next(), key = Key(), input, call](Value& out) mutable {
        if (!next) {
          if (!truthy(input)) return false;
          key = mapper(call);
          next = iterate(input);
        }
        Value item;
        if (!next(item)) return false;
        call.runtime.charge(1);
        out = key(item);
        return true;
      },
      "generator object sync_do_map", Value::tuple({input, Value::tuple(call.args)}));
}

// The test that select and its kin apply to the item, or to an attribute of it.
std::function<bool(const Value&)> chooser(const Call& call, bool by_attribute) {
  Key key = getter(nullptr, false);
  if (by_attribute) {
    if (call.args.empty()) throw Failure("Missing parameter for attribute name");
    key = getter(&call.args[0], false);
  }
  const size_t at = by_attribute ? 1 : 0;
  if (call.args.size() <= at) return [key](const Value& item) { return truthy(key(item)); };
  const std::string name = to_str(call.runtime, call.args[at]);
  const Test test = find_test(name);
  if (test == nullptr) throw Failure(cat("No test named '", name, "'."));
  return [key, test,
          rest = Items(call.args.begin() + static_cast<std::ptrdiff_t>(at) + 1, call.args.end()),
          names = call.named, &runtime = call.runtime](const Value& item) {
    Call inner{runtime, rest, names};
    return test(key(item), inner);
  };
}

template <bool kAttribute, bool kWanted>
Value select(const Value& input, Call& call) {
  return make_iterator(
      [next = Next(), choose = std::function<bool(const Value&)>(), input,
       call](Value& out) mutable {
        if (!next) {
          if (!truthy(input)) return false;
          choose = chooser(call, kAttribute);
          next = iterate(input);
        }
        while (next(out)) {
          call.runtime.charge(1);
          if (choose(out) == kWanted) return true;
        }
        return false;
      },
      "generator object select_or_reject", Value::tuple({input, Value::tuple(call.args)}));
}

constexpr std::array kRows = {
    FilterRow{"batch", batch},
    FilterRow{"count", count},
    FilterRow{"dictsort", dictsort},
    FilterRow{"first", first},
    FilterRow{"groupby", groupby},
    FilterRow{"items", items},
    FilterRow{"join", join},
    FilterRow{"last", last},
    FilterRow{"length", count},
    FilterRow{"list", list},
    FilterRow{"map", map},
    FilterRow{"max", extreme<true>},
    FilterRow{"min", extreme<false>},
    FilterRow{"reject", select<false, false>},
    FilterRow{"rejectattr", select<true, false>},
    FilterRow{"reverse", reverse},
    FilterRow{"select", select<false, true>},
    FilterRow{"selectattr", select<true, true>},
    FilterRow{"slice", slice},
    FilterRow{"sort", sort},
    FilterRow{"sum", sum},
    FilterRow{"unique", unique},
};

}  // namespace

Filter find_sequence_filter(std::string_view name) {
  const auto row =
      std::find_if(kRows.begin(), kRows.end(), [&](const auto& r) { return r.name == name; });
  return row == kRows.end() ? nullptr : row->filter;
}

}  // namespace nibble::jinja
