// Recursive descent after Jinja2's parser: the same precedence, the same tolerance (trailing
// commas, tuples without parentheses) and the same refusals.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/jinja_ast.h"
#include "model/text/jinja_lexer.h"

namespace nibble::jinja {

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}
  Template run();

 private:
  // ---- tokens ----
  const Token& current() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool is_op(std::string_view op) const {
    return current().type == Tok::op && current().text == op;
  }
  bool is_name(std::string_view name) const {
    return current().type == Tok::name && current().text == name;
  }
  bool is_any_name(const std::vector<std::string_view>& names) const;
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  void expect_op(std::string_view op);
  void expect(Tok type, std::string_view what);
  std::string expect_name(std::string_view which = "");
  static std::string shown(const Token& token);  // in a message
  [[noreturn]] void fail(std::string message, std::optional<Place> place = {}) const;

  // ---- statements (jinja_parser.cpp) ----
  using Ends = std::vector<std::string_view>;
  Body parse_body(const Ends& ends);
  Body statements(const Ends& ends);         // the body of a tag, from after its expressions
  Body closed(const Ends& ends, bool loop);  // a body with a scope of its own
  std::unique_ptr<Stmt> statement();
  std::unique_ptr<Stmt> make(StmtKind kind) const;
  std::unique_ptr<Stmt> parse_for();
  std::unique_ptr<Stmt> parse_if();
  std::unique_ptr<Stmt> parse_set();
  std::unique_ptr<Stmt> parse_with();
  std::unique_ptr<Stmt> parse_macro();
  std::unique_ptr<Stmt> parse_call();
  std::unique_ptr<Stmt> parse_filter_block();
  std::unique_ptr<Stmt> parse_generation();
  std::unique_ptr<Stmt> parse_block();
  std::unique_ptr<Stmt> parse_print();
  std::unique_ptr<Stmt> parse_loop_control();
  std::unique_ptr<Stmt> parse_refused();
  void signature(Stmt& macro);
  void macro_body(Stmt& macro, const Ends& ends);

  // ---- expressions (jinja_expressions.cpp) ----
  ExprPtr make(ExprKind kind, Place place, std::vector<ExprPtr> kids = {}) const;
  ExprPtr target(bool with_space, const Ends& ends = {});
  ExprPtr target_name();
  void check_target(const Expr& target);
  ExprPtr tuple(bool conditional, const Ends& ends = {}, bool parentheses = false,
                bool simple = false);
  ExprPtr expression();
  ExprPtr logical_or();
  ExprPtr logical_and();
  ExprPtr logical_not();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concat();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filter);
  ExprPtr primary();
  ExprPtr name_or_constant();
  ExprPtr list();
  ExprPtr dict();
  ExprPtr postfix(ExprPtr node);
  ExprPtr filter_expression(ExprPtr node);
  ExprPtr subscript(ExprPtr node);
  ExprPtr subscribed(ExprPtr node);
  ExprPtr call(ExprPtr node);
  void arguments(Expr& node);
  ExprPtr filter(ExprPtr node, bool inline_start);
  ExprPtr test(ExprPtr node);
  std::string dotted_name();
  void check_known(bool known, std::string_view what, const std::string& name, Place place);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;      // of statements and parentheses
  int loops_ = 0;        // around here, within this function: break is allowed
  int for_targets_ = 0;  // around here at all: loop cannot be assigned
  bool soft_ = false;    // inside a condition: an unknown filter fails only when it is reached
  bool has_generation_ = false;
  std::vector<std::pair<Place, std::string>> unknown_;  // filters and tests, with their place
  std::vector<Stmt*> loops_and_macros_;                 // that the names loop, caller … belong to
};

inline constexpr int kMaxSourceNesting = 80;
inline constexpr int kMaxExprHeight = 200;

}  // namespace nibble::jinja
