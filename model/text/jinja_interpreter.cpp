// Statements.
#include "model/text/jinja_interpreter.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"

namespace nibble::jinja {

// Makes a scope (a new one inside `parent`) current for a while.
class InScope {
 public:
  InScope(Interpreter& interpreter, ScopePtr parent)  // by value: it may be interpreter.scope_
      : interpreter_(interpreter), before_(interpreter.scope_) {
    interpreter_.scope_ = std::make_shared<Scope>();
    interpreter_.scope_->parent = std::move(parent);
  }
  ~InScope() { interpreter_.scope_ = before_; }
  InScope(const InScope&) = delete;
  InScope& operator=(const InScope&) = delete;

 private:
  Interpreter& interpreter_;
  ScopePtr before_;
};

// One run of a for loop, as the variable `loop` shows it.
struct LoopState {
  std::function<bool(Value&)> next;
  Value source;
  bool filtered = false;
  std::optional<Value> after;  // read ahead for loop.last and loop.nextitem
  int64_t index0 = -1;
  int64_t length = -1;
  Value before, current;
  std::optional<Value> changed;
  bool kept = false;
  int depth = 1;
  std::function<Value(Call&)> recurse;

  bool advance() {
    Value item;
    if (after) {
      item = std::move(*after);
      after.reset();
    } else if (!next(item)) {
      return false;
    }
    ++index0;
    before = std::move(current);
    current = std::move(item);
    return true;
  }

  bool peek() {
    Value item;
    if (!after && next(item)) after = std::move(item);
    return after.has_value();
  }

  int64_t count(Runtime& runtime) {
    if (length >= 0) return length;
    if (!filtered && has_length(source)) return length = jinja::length(source);
    Items rest;
    for (Value item; next(item);) {
      runtime.charge(1);
      rest.push_back(std::move(item));
    }
    length = static_cast<int64_t>(rest.size()) + index0 + 1 + (after ? 1 : 0);
    next = iterate(Value::list(std::move(rest)));
    return length;
  }
};

Value* Scope::find(std::string_view name) {
  for (auto& [key, value] : names) {
    if (key == name) return &value;
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  if (Value* slot = find(name)) {
    *slot = std::move(value);
  } else {
    names.emplace_back(name, std::move(value));
  }
}

Interpreter::Interpreter(Runtime& runtime, const Json& variables)
    : runtime_(runtime), scope_(std::make_shared<Scope>()) {
  for (const auto& [name, value] : variables.items())
    variables_.set(Value::text(name), from_json(value));
}

int64_t Interpreter::weight_of_variables() const {
  int64_t weight = 0;
  for (const auto& [name, value] : variables_.entries) weight += value.weight();
  return weight;
}

void Interpreter::run(const Template& program) { run_body(program.body); }

void Interpreter::write(std::string_view text) {
  runtime_.check_size(static_cast<int64_t>(out_->size() + text.size()));
  runtime_.charge_bytes(text.size());
  out_->append(text);
}

Interpreter::Flow Interpreter::run_body(const Body& body) {
  const Nested nested(runtime_, false);
  for (const auto& stmt : body) {
    const Flow flow = run_stmt(*stmt);
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::run_stmt(const Stmt& stmt) {
  runtime_.charge(1);
  place_ = stmt.place;
  switch (stmt.kind) {
    case StmtKind::text:
      write(stmt.text);
      return Flow::next;
    case StmtKind::output:
      for (const ExprPtr& expr : stmt.exprs) write(to_str(runtime_, eval(*expr)));
      return Flow::next;
    case StmtKind::assign:
      assign(*stmt.targets[0], eval(*stmt.exprs[0]));
      return Flow::next;
    case StmtKind::assign_block:
      return run_assign_block(stmt);
    case StmtKind::for_loop:
      return run_for(stmt);
    case StmtKind::condition:
      return run_condition(stmt);
    case StmtKind::with:
      return run_with(stmt);
    case StmtKind::macro:
      scope_->set(stmt.text, macro(stmt));
      return Flow::next;
    case StmtKind::call_block:
      run_call_block(stmt);
      return Flow::next;
    case StmtKind::filter_block:
      return run_filter_block(stmt);
    case StmtKind::generation:
      return run_generation(stmt);
    case StmtKind::scope:
      return run_scope(stmt);
    case StmtKind::loop_break:
      return Flow::loop_break;
    case StmtKind::loop_continue:
      return Flow::loop_continue;
    case StmtKind::refuse:
      break;
  }
  throw Failure(cat("'", stmt.text, "' is refused: a chat template reads no other files"));
}

Interpreter::Flow Interpreter::run_condition(const Stmt& stmt) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    if (truthy(eval(*stmt.exprs[i]))) return run_body(stmt.bodies[i]);
  }
  return run_body(stmt.other);
}

Interpreter::Flow Interpreter::run_scope(const Stmt& stmt) {
  const InScope inside(*this, scope_);
  return run_body(stmt.body);
}

Interpreter::Flow Interpreter::run_with(const Stmt& stmt) {
  const Items values = eval_all(stmt.exprs);
  const InScope inside(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) assign(*stmt.targets[i], values[i]);
  return run_body(stmt.body);
}

// Only what goes straight to the output has a place in it: inside a macro or a set block the text
// may end anywhere.
Interpreter::Flow Interpreter::run_generation(const Stmt& stmt) {
  const InScope inside(*this, scope_);
  const size_t start = output_.size();
  const Flow flow = run_body(stmt.body);
  if (out_ == &output_) generation_.emplace_back(start, output_.size());
  return flow;
}

std::string Interpreter::captured(const Body& body, Flow& flow) {
  std::string text;
  std::string* before = std::exchange(out_, &text);
  try {
    flow = run_body(body);
  } catch (...) {
    out_ = before;
    throw;
  }
  out_ = before;
  return text;
}

// break and continue leave a captured body without its text.
Interpreter::Flow Interpreter::run_assign_block(const Stmt& stmt) {
  Value value;
  {
    const InScope inside(*this, scope_);
    Flow flow = Flow::next;
    value = runtime_.text(captured(stmt.body, flow));
    if (flow != Flow::next) return flow;
    if (stmt.exprs[0] != nullptr) value = eval_filter(*stmt.exprs[0], &value);
  }
  assign(*stmt.targets[0], value);
  return Flow::next;
}

Interpreter::Flow Interpreter::run_filter_block(const Stmt& stmt) {
  const InScope inside(*this, scope_);
  Flow flow = Flow::next;
  const Value text = runtime_.text(captured(stmt.body, flow));
  if (flow != Flow::next) return flow;
  const Value result = eval_filter(*stmt.exprs[0], &text);
  if (!result.is_text()) type_error(cat("a filter block must give text, not ", type_name(result)));
  write(result.bytes());
  return Flow::next;
}

void Interpreter::run_call_block(const Stmt& stmt) {
  const Value caller = macro(stmt);
  const Value result = eval_call(*stmt.exprs[0], &caller);
  if (!result.is_text()) type_error(cat("a call block must give text, not ", type_name(result)));
  write(result.bytes());
}

// ---- assignment ----

void Interpreter::assign(const Expr& target, const Value& value) {
  if (target.kind == ExprKind::name) {
    scope_->set(target.name, value);
  } else if (target.kind == ExprKind::space_field) {
    const Value space = eval_name(target);
    if (!space.is(Kind::space)) throw Failure("cannot assign attribute on non-namespace object");
    space.as<Space>().attributes.set(Value::text(target.field), value);
  } else {
    const Items items = to_items(runtime_, value);
    if (items.size() != target.kids.size()) {
      throw Failure(
          cat("ValueError: ", target.kids.size(), " values expected, got ", items.size()));
    }
    for (size_t i = 0; i < items.size(); ++i) assign(*target.kids[i], items[i]);
  }
}

// ---- loops ----

std::function<bool(Value&)> Interpreter::filtered(const Stmt& stmt, const Value& source,
                                                  const ScopePtr& outer) {
  auto next = iterate(source);
  if (stmt.exprs[1] == nullptr) return next;
  return [this, &stmt, outer, next](Value& item) {
    while (next(item)) {
      runtime_.charge(1);
      const InScope inside(*this, outer);
      assign(*stmt.targets[0], item);
      if (truthy(eval(*stmt.exprs[1]))) return true;
    }
    return false;
  };
}

Value Interpreter::loop_object(const std::shared_ptr<LoopState>& state) {
  auto loop = std::make_shared<Loop>();
  loop->call = state->recurse;
  loop->attribute = [this, state](const std::string& name, bool& found) {
    found = true;
    const int64_t index = state->index0 + 1;
    if (name == "index") return Value::of(index);
    if (name == "index0") return Value::of(state->index0);
    if (name == "first") return Value::of(state->index0 == 0);
    if (name == "last") return Value::of(!state->peek());
    if (name == "length") return Value::of(state->count(runtime_));
    if (name == "revindex") return Value::of(state->count(runtime_) - state->index0);
    if (name == "revindex0") return Value::of(state->count(runtime_) - index);
    if (name == "depth") return Value::of(int64_t{state->depth});
    if (name == "depth0") return Value::of(int64_t{state->depth - 1});
    if (name == "previtem") {
      return state->index0 == 0 ? Value::undefined("there is no previous item") : state->before;
    }
    if (name == "nextitem") {
      return state->peek() ? *state->after : Value::undefined("there is no next item");
    }
    if (name == "cycle") {
      return make_function("cycle", [state](Call& call) {
        if (call.args.empty()) type_error("no items for cycling given");
        return call.args[static_cast<size_t>(state->index0) % call.args.size()];
      });
    }
    if (name == "changed") {
      return make_function("changed", [this, state](Call& call) {
        const Value now = Value::tuple(call.args);
        if (state->changed && equal(*state->changed, now)) return Value::of(false);
        if (!state->kept) runtime_.keep([state] { state->changed.reset(); });
        state->kept = true;
        state->changed = now;
        return Value::of(true);
      });
    }
    found = false;
    return Value();
  };
  return Value::object(Kind::loop, std::move(loop));
}

void Interpreter::loop_over(const Stmt& stmt, const Value& source, const ScopePtr& outer,
                            int depth) {
  auto state = std::make_shared<LoopState>();
  state->source = source;
  state->filtered = stmt.exprs[1] != nullptr;
  state->next = filtered(stmt, source, outer);
  state->depth = depth;
  if (stmt.recursive) {
    state->recurse = [this, &stmt, outer, depth](Call& call) {
      const Nested nested(runtime_, true);
      const Value inner = *call.bind("loop", {"iterable"}, 1)[0];
      std::string text;
      std::string* before = std::exchange(out_, &text);
      try {
        loop_over(stmt, inner, outer, depth + 1);
      } catch (...) {
        out_ = before;
        throw;
      }
      out_ = before;
      return runtime_.text(std::move(text));
    };
  }
  const Value loop = stmt.uses_loop || stmt.recursive ? loop_object(state) : Value();
  bool finished_one = false;
  while (state->advance()) {
    runtime_.charge(1);
    const InScope inside(*this, outer);
    if (!loop.is(Kind::undefined)) scope_->set("loop", loop);
    assign(*stmt.targets[0], state->current);
    const Flow flow = run_body(stmt.body);
    if (flow == Flow::loop_break) break;
    // Jinja runs the else part when no iteration came to its end: break and continue do not count.
    finished_one = finished_one || flow == Flow::next;
  }
  if (finished_one || stmt.other.empty()) return;
  const InScope inside(*this, outer);
  run_body(stmt.other);
}

Interpreter::Flow Interpreter::run_for(const Stmt& stmt) {
  const Value source = eval(*stmt.exprs[0]);
  const ScopePtr outer = scope_;
  loop_over(stmt, source, outer, 1);
  return Flow::next;
}

// ---- macros ----

void Interpreter::keep_scopes() {
  for (Scope* scope = scope_.get(); scope != nullptr && !scope->kept; scope = scope->parent.get()) {
    scope->kept = true;
  }
  runtime_.keep([scope = scope_] {
    for (ScopePtr s = scope; s != nullptr; s = s->parent) s->names.clear();
  });
}

Value Interpreter::macro(const Stmt& stmt) {
  keep_scopes();
  auto function = std::make_shared<Function>();
  function->name = stmt.text;
  function->macro = true;
  function->call = [this, &stmt, home = scope_](Call& call) {
    return call_macro(stmt, home, call);
  };
  return Value::object(Kind::function, std::move(function));
}

void Interpreter::bind_parameters(const Stmt& stmt, Call& call) {
  const size_t count = stmt.targets.size();
  const size_t without_default = count - stmt.defaults.size();
  bool explicit_caller = false;
  std::vector<bool> given(count, false);
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = stmt.targets[i]->name;
    explicit_caller = explicit_caller || name == "caller";
    const auto named = std::find_if(call.named.begin(), call.named.end(),
                                    [&](const auto& pair) { return pair.first == name; });
    if (i < call.args.size()) {
      scope_->set(name, call.args[i]);
      given[i] = true;
    } else if (named != call.named.end()) {
      scope_->set(name, named->second);
      call.named.erase(named);
      given[i] = true;
    }
  }
  const auto caller = std::find_if(call.named.begin(), call.named.end(),
                                   [](const auto& pair) { return pair.first == "caller"; });
  if (stmt.uses_caller && !explicit_caller) {
    const bool has = caller != call.named.end();
    scope_->set("caller", has ? caller->second : Value::undefined("No caller defined"));
    if (has) call.named.erase(caller);
  }
  if (stmt.uses_kwargs) {
    Dict rest;
    for (auto& [name, value] : call.named) rest.set(Value::text(name), value);
    scope_->set("kwargs", Value::dict(std::move(rest)));
  } else if (!call.named.empty()) {
    type_error(
        cat("macro '", stmt.text, "' takes no keyword argument '", call.named[0].first, "'"));
  }
  if (stmt.uses_varargs) {
    Items rest;
    for (size_t i = count; i < call.args.size(); ++i) rest.push_back(call.args[i]);
    scope_->set("varargs", Value::tuple(std::move(rest)));
  } else if (call.args.size() > count) {
    type_error(cat("macro '", stmt.text, "' takes not more than ", count, " argument(s)"));
  }
  for (size_t i = 0; i < count; ++i) {
    if (given[i]) continue;
    const std::string& name = stmt.targets[i]->name;
    scope_->set(name, i < without_default
                          ? Value::undefined(cat("parameter '", name, "' was not provided"))
                          : eval(*stmt.defaults[i - without_default]));
  }
}

Value Interpreter::call_macro(const Stmt& stmt, const ScopePtr& home, Call& call) {
  const Nested nested(runtime_, true);
  runtime_.charge(1);
  const InScope inside(*this, home);
  const Place place = place_;
  bind_parameters(stmt, call);
  Flow flow = Flow::next;
  std::string text = captured(stmt.body, flow);
  place_ = place;
  return runtime_.text(std::move(text));
}

}  // namespace nibble::jinja
