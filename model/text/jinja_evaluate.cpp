// Expressions, and the global functions they call.
#include <algorithm>
#include <array>

#include "base/text.h"
#include "model/text/jinja_filters.h"
#include "model/text/jinja_interpreter.h"

namespace nibble::jinja {

namespace {

constexpr int64_t kMaxRange = 100000;  // as the sandbox has it

Value global_range(Call& call) {
  if (!call.named.empty() || call.args.empty() || call.args.size() > 3)
    type_error("range needs 1 to 3 integers");
  std::array<int64_t, 3> n = {0, 0, 1};
  for (size_t i = 0; i < call.args.size(); ++i) {
    if (call.args[i].is(Kind::undefined)) throw Failure(call.args[i].why());
    if (!call.args[i].is_integral()) type_error("range needs integers");
    n[call.args.size() == 1 ? 1 : i] = call.args[i].integer();
  }
  if (n[2] == 0) throw Failure("ValueError: range() arg 3 must not be zero");
  constexpr int64_t kFar = int64_t{1} << 61;
  for (int64_t& bound : n) bound = std::clamp(bound, -kFar, kFar);
  const Range range{n[0], n[1], n[2]};
  if (range.size() > kMaxRange) throw Failure("OverflowError: Range too big");
  return Value::range(range);
}

Dict dict_from(Call& call) {
  Dict dict;
  if (call.args.size() > 1) type_error("dict expected at most 1 argument");
  if (!call.args.empty() && call.args[0].is(Kind::undefined)) throw Failure(call.args[0].why());
  if (!call.args.empty() && call.args[0].is(Kind::dict)) {
    dict = call.args[0].dict();
    call.runtime.charge(static_cast<int64_t>(dict.entries.size()));
  } else if (!call.args.empty()) {
    for (const Value& pair : to_items(call.runtime, call.args[0])) {
      Items both = to_items(call.runtime, pair);
      if (both.size() != 2) throw Failure("ValueError: dict needs pairs");
      dict.set(both[0], both[1]);
    }
  }
  for (const auto& [name, value] : call.named) dict.set(Value::text(name), value);
  return dict;
}

Value global_dict(Call& call) { return Value::dict(dict_from(call)); }

Value global_namespace(Call& call) { return call.runtime.make_space(dict_from(call)); }

Value global_raise(Call& call) {
  throw Failure(to_str(call.runtime, *call.bind("raise_exception", {"message"}, 1)[0]));
}

Value global_strftime(Call& call) {
  const Value& format = *call.bind("strftime_now", {"format"}, 1)[0];
  if (!format.is_text()) type_error("strftime_now needs a str");
  return call.runtime.text(call.runtime.strftime(format.bytes()));
}

Value global_joiner(Call& call) {
  const auto bound = call.bind("joiner", {"sep"});
  const Value separator = bound[0] != nullptr ? *bound[0] : Value::text(", ");
  auto used = std::make_shared<bool>(false);
  return make_function(
      "joiner",
      [separator, used](Call&) { return std::exchange(*used, true) ? separator : Value::text(""); },
      separator);
}

// An object with next(), reset() and current; the namespace is emptied when rendering ends.
Value global_cycler(Call& call) {
  if (call.args.empty() || !call.named.empty())
    throw Failure("at least one item has to be provided");
  const Value items = Value::tuple(call.args);
  const Value cycler = call.runtime.make_space({});
  auto at = std::make_shared<size_t>(0);
  const auto go_to = [items, cycler, at](size_t position) {
    *at = position % items.items().size();
    cycler.as<Space>().attributes.set(Value::text("current"), items.items()[*at]);
  };
  Dict& attributes = cycler.as<Space>().attributes;
  attributes.set(Value::text("next"), make_function(
                                          "next",
                                          [items, at, go_to](Call&) {
                                            const Value now = items.items()[*at];
                                            go_to(*at + 1);
                                            return now;
                                          },
                                          items));
  attributes.set(Value::text("reset"), make_function(
                                           "reset",
                                           [go_to](Call&) {
                                             go_to(0);
                                             return Value::none();
                                           },
                                           items));
  go_to(0);
  return cycler;
}

}  // namespace

Value find_global(std::string_view name, bool& found) {
  using Global = Value (*)(Call&);
  constexpr std::array<std::pair<std::string_view, Global>, 7> kGlobals = {
      {{"range", global_range},
       {"dict", global_dict},
       {"namespace", global_namespace},
       {"raise_exception", global_raise},
       {"strftime_now", global_strftime},
       {"joiner", global_joiner},
       {"cycler", global_cycler}}};
  for (const auto& [key, function] : kGlobals) {
    found = key == name;
    if (found) return make_function(std::string(name), function);
  }
  return Value();
}

Value Interpreter::eval(const Expr& expr) {
  const Nested nested(runtime_, false);
  runtime_.charge(1);
  const Place around = std::exchange(place_, expr.place);
  Value value = eval_here(expr);
  place_ = around;
  return value;
}

Value Interpreter::eval_here(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::constant:
      return expr.constant;
    case ExprKind::name:
      return eval_name(expr);
    case ExprKind::list:
      return Value::list(eval_all(expr.kids));
    case ExprKind::tuple:
      return Value::tuple(eval_all(expr.kids));
    case ExprKind::dict:
      return eval_dict(expr);
    case ExprKind::attribute:
      return get_attribute(eval(*expr.kids[0]), expr.name);
    case ExprKind::item: {
      const Value object = eval(*expr.kids[0]);
      // Only ASCII text has its characters in known places.
      if (object.is_text() && !object.as<Text>().ascii) runtime_.charge_text(object.bytes().size());
      return get_item(object, eval(*expr.kids[1]));
    }
    case ExprKind::slice:
      return eval_slice(expr);
    case ExprKind::call:
      return eval_call(expr);
    case ExprKind::filter:
      return eval_filter(expr);
    case ExprKind::test:
      return eval_test(expr);
    case ExprKind::logical_not:
      return Value::of(!truthy(eval(*expr.kids[0])));
    case ExprKind::logical_and: {
      Value left = eval(*expr.kids[0]);
      return truthy(left) ? eval(*expr.kids[1]) : left;
    }
    case ExprKind::logical_or: {
      Value left = eval(*expr.kids[0]);
      return truthy(left) ? left : eval(*expr.kids[1]);
    }
    case ExprKind::negative:
      return negate(eval(*expr.kids[0]));
    case ExprKind::positive:
      return positive(eval(*expr.kids[0]));
    case ExprKind::arithmetic: {
      const Value left = eval(*expr.kids[0]);
      return arithmetic(runtime_, expr.name, left, eval(*expr.kids[1]));
    }
    case ExprKind::concat:
      return eval_concat(expr);
    case ExprKind::compare:
      return eval_compare(expr);
    case ExprKind::conditional:
      return eval_conditional(expr);
    case ExprKind::space_field:
      break;
  }
  throw Failure("a namespace field cannot be read here");
}

Value Interpreter::eval_name(const Expr& expr) {
  for (Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    if (const Value* value = scope->find(expr.name)) return *value;
  }
  if (const Value* value = variables_.find(expr.name)) return *value;
  bool found = false;
  Value global = find_global(expr.name, found);
  return found ? global : Value::undefined(cat("'", expr.name, "' is undefined"));
}

Items Interpreter::eval_all(const std::vector<ExprPtr>& exprs) {
  Items items;
  items.reserve(exprs.size());
  for (const ExprPtr& expr : exprs) items.push_back(eval(*expr));
  return items;
}

Value Interpreter::eval_dict(const Expr& expr) {
  Dict dict;
  for (size_t i = 0; i < expr.kids.size(); i += 2) {
    Value key = eval(*expr.kids[i]);
    dict.set(std::move(key), eval(*expr.kids[i + 1]));
  }
  return Value::dict(std::move(dict));
}

Value Interpreter::eval_slice(const Expr& expr) {
  const Value object = eval(*expr.kids[0]);
  const auto part = [&](size_t i) { return expr.kids[i] ? eval(*expr.kids[i]) : Value::none(); };
  const Slice slice{part(1), part(2), part(3)};
  return get_slice(runtime_, object, slice);
}

Call Interpreter::eval_arguments(const Arguments& arguments) {
  Call call{runtime_, eval_all(arguments.args), {}};
  for (const auto& [name, expr] : arguments.named) call.named.emplace_back(name, eval(*expr));
  if (arguments.star != nullptr) {
    for (Value& item : to_items(runtime_, eval(*arguments.star)))
      call.args.push_back(std::move(item));
  }
  if (arguments.double_star != nullptr) {
    const Value dict = eval(*arguments.double_star);
    if (!dict.is(Kind::dict)) type_error("argument after ** must be a mapping");
    for (const auto& [key, value] : dict.dict().entries) {
      if (!key.is_text()) type_error("keywords must be strings");
      call.named.emplace_back(key.bytes(), value);
    }
  }
  return call;
}

Value Interpreter::eval_call(const Expr& expr, const Value* caller) {
  const Value callee = eval(*expr.kids[0]);
  Call call = eval_arguments(expr.arguments);
  if (caller != nullptr) call.named.emplace_back("caller", *caller);
  runtime_.charge(1);
  place_ = expr.place;
  if (callee.is(Kind::undefined)) throw Failure(callee.why());
  if (callee.is(Kind::loop)) {
    if (!callee.as<Loop>().call) {
      type_error("The loop must have the 'recursive' marker to be called recursively.");
    }
    return callee.as<Loop>().call(call);
  }
  if (!callee.is(Kind::function))
    type_error(cat("'", type_name(callee), "' object is not callable"));
  return callee.as<Function>().call(call);
}

Value Interpreter::eval_filter(const Expr& expr, const Value* input) {
  const Filter filter = find_filter(expr.name);
  if (filter == nullptr) throw Failure(cat("No filter named '", expr.name, "' found."));
  // The innermost filter of a block has no expression below it: the block's text goes in there.
  const Expr* below = expr.kids[0].get();
  const Value value = below == nullptr                  ? *input
                      : below->kind == ExprKind::filter ? eval_filter(*below, input)
                                                        : eval(*below);
  Call call = eval_arguments(expr.arguments);
  place_ = expr.place;
  if (value.is_text()) runtime_.charge_text(value.bytes().size());
  return filter(value, call);
}

Value Interpreter::eval_test(const Expr& expr) {
  const Test test = find_test(expr.name);
  if (test == nullptr) throw Failure(cat("No test named '", expr.name, "' found."));
  const Value value = eval(*expr.kids[0]);
  Call call = eval_arguments(expr.arguments);
  if (value.is_text()) runtime_.charge_bytes(value.bytes().size());
  return Value::of(test(value, call));
}

bool Interpreter::compare_once(std::string_view op, const Value& a, const Value& b) {
  if (op == "in" || op == "not in") {
    runtime_.charge_walk(b);
    if (b.is_text()) runtime_.charge_text(b.bytes().size());
    return contains(b, a) == (op == "in");
  }
  if (a.depth() > 0 || a.is_text()) runtime_.charge_walk(a);
  if (op == "==") return equal(a, b);
  if (op == "!=") return !equal(a, b);
  const int order = compare(a, b, op);
  if (order == 2) return false;
  if (op == "<") return order < 0;
  if (op == "<=") return order <= 0;
  return op == ">" ? order > 0 : order >= 0;
}

// a < b < c compares neighbours, evaluates each once, and stops at the first that fails.
Value Interpreter::eval_compare(const Expr& expr) {
  Value left = eval(*expr.kids[0]);
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    Value right = eval(*expr.kids[i + 1]);
    if (!compare_once(expr.ops[i], left, right)) return Value::of(false);
    left = std::move(right);
  }
  return Value::of(true);
}

Value Interpreter::eval_concat(const Expr& expr) {
  std::string text;
  for (const ExprPtr& kid : expr.kids) {
    text += to_str(runtime_, eval(*kid));
    runtime_.check_size(static_cast<int64_t>(text.size()));
  }
  return runtime_.text(std::move(text));
}

Value Interpreter::eval_conditional(const Expr& expr) {
  if (truthy(eval(*expr.kids[0]))) return eval(*expr.kids[1]);
  if (expr.kids[2] != nullptr) return eval(*expr.kids[2]);
  return Value::undefined(cat("the inline if-expression on line ", expr.place.line,
                              " evaluated to false and no else section was defined."));
}

}  // namespace nibble::jinja
