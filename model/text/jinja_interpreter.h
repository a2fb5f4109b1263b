// Walks the tree of a template: scopes, loops, macros, output. One interpreter is one rendering.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "model/text/jinja_ast.h"
#include "model/text/jinja_value.h"

namespace nibble::jinja {

// Names set here; loops, macros and blocks open scopes of their own, if does not. A macro keeps the
// scopes it was defined in.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string_view, Value>> names;
  bool kept = false;

  Value* find(std::string_view name);
  void set(std::string_view name, Value value);
};
using ScopePtr = std::shared_ptr<Scope>;

inline constexpr int kMaxNesting = 1000;  // of evaluation inside evaluation: bounds the C++ stack

// Counts one level of evaluation for as long as it lives, and one of calls when asked to.
class Nested {
 public:
  Nested(Runtime& runtime, bool call) : runtime_(runtime), call_(call) {
    const bool deep = runtime_.nesting >= kMaxNesting;
    if (deep || (call_ && runtime_.depth >= runtime_.max_depth)) {
      throw Failure(
          deep ? cat("the template nests deeper than ", kMaxNesting)
               : cat("macros or recursive loops call each other deeper than ", runtime_.max_depth));
    }
    ++runtime_.nesting;
    runtime_.depth += call_ ? 1 : 0;
  }
  ~Nested() {
    --runtime_.nesting;
    runtime_.depth -= call_ ? 1 : 0;
  }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  Runtime& runtime_;
  bool call_;
};

struct LoopState;

class Interpreter {
 public:
  Interpreter(Runtime& runtime, const Json& variables);

  void run(const Template& program);
  int64_t weight_of_variables() const;
  std::string& output() { return output_; }
  const std::vector<std::pair<size_t, size_t>>& generation() const { return generation_; }
  Place place() const { return place_; }

 private:
  enum class Flow { next, loop_break, loop_continue };

  // ---- statements (jinja_interpreter.cpp) ----
  Flow run_body(const Body& body);
  Flow run_stmt(const Stmt& stmt);
  Flow run_condition(const Stmt& stmt);
  Flow run_scope(const Stmt& stmt);
  Flow run_with(const Stmt& stmt);
  Flow run_generation(const Stmt& stmt);
  Flow run_assign_block(const Stmt& stmt);
  Flow run_filter_block(const Stmt& stmt);
  void run_call_block(const Stmt& stmt);
  Flow run_for(const Stmt& stmt);
  void loop_over(const Stmt& stmt, const Value& source, const ScopePtr& outer, int depth);
  std::function<bool(Value&)> filtered(const Stmt& stmt, const Value& source,
                                       const ScopePtr& outer);
  Value loop_object(const std::shared_ptr<LoopState>& state);
  void assign(const Expr& target, const Value& value);
  void write(std::string_view text);
  std::string captured(const Body& body, Flow& flow);
  Value macro(const Stmt& stmt);
  Value call_macro(const Stmt& stmt, const ScopePtr& home, Call& call);
  void bind_parameters(const Stmt& stmt, Call& call);
  void keep_scopes();

  // ---- expressions (jinja_evaluate.cpp) ----
  Value eval(const Expr& expr);
  Value eval_here(const Expr& expr);
  Value eval_name(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_slice(const Expr& expr);
  Value eval_call(const Expr& expr, const Value* caller = nullptr);
  Value eval_filter(const Expr& expr, const Value* input = nullptr);
  Value eval_test(const Expr& expr);
  Value eval_compare(const Expr& expr);
  bool compare_once(std::string_view op, const Value& a, const Value& b);
  Value eval_concat(const Expr& expr);
  Value eval_conditional(const Expr& expr);
  Items eval_all(const std::vector<ExprPtr>& exprs);
  Call eval_arguments(const Arguments& arguments);

  friend class InScope;

  Runtime& runtime_;
  Dict variables_;
  ScopePtr scope_;
  std::string output_;
  std::string* out_ = &output_;
  std::vector<std::pair<size_t, size_t>> generation_;
  Place place_;  // of what is being evaluated; after a failure, of what failed
};

// What every template finds: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
Value find_global(std::string_view name, bool& found);

}  // namespace nibble::jinja
