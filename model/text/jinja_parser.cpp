// Statements: what stands between {% and %}.
#include "model/text/jinja_parser.h"

#include <algorithm>

#include "base/text.h"

namespace nibble::jinja {

namespace {

// Holds a counter up for one scope.
class Deeper {
 public:
  Deeper(int& counter, Place place) : counter_(counter) {
    if (++counter_ > kMaxSourceNesting) {
      --counter_;
      throw SyntaxError{place, cat("nested deeper than ", kMaxSourceNesting, " levels")};
    }
  }
  ~Deeper() { --counter_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  int& counter_;
};

}  // namespace

std::string Parser::shown(const Token& token) {
  switch (token.type) {
    case Tok::eof:
      return "the end of the template";
    case Tok::data:
      return "text";
    case Tok::variable_end:
      return "'}}'";
    case Tok::block_end:
      return "'%}'";
    case Tok::variable_begin:
      return "'{{'";
    case Tok::block_begin:
      return "'{%'";
    case Tok::string:
      return "a string";
    default:
      return cat("'", token.text, "'");
  }
}

bool Parser::is_any_name(const std::vector<std::string_view>& names) const {
  return current().type == Tok::name &&
         std::find(names.begin(), names.end(), current().text) != names.end();
}

bool Parser::skip_op(std::string_view op) {
  if (!is_op(op)) return false;
  next();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  next();
  return true;
}

void Parser::expect_op(std::string_view op) {
  if (!skip_op(op)) fail(cat("expected '", op, "', got ", shown(current())));
}

void Parser::expect(Tok type, std::string_view what) {
  if (current().type != type) fail(cat("expected ", what, ", got ", shown(current())));
  next();
}

std::string Parser::expect_name(std::string_view which) {
  if (current().type != Tok::name || (!which.empty() && current().text != which)) {
    fail(cat("expected ", which.empty() ? "a name" : which, ", got ", shown(current())));
  }
  return next().text;
}

void Parser::fail(std::string message, std::optional<Place> place) const {
  throw SyntaxError{place.value_or(current().place), std::move(message)};
}

std::unique_ptr<Stmt> Parser::make(StmtKind kind) const {
  auto stmt = std::make_unique<Stmt>();
  stmt->kind = kind;
  stmt->place = current().place;
  return stmt;
}

Template Parser::run() {
  Template result;
  result.body = parse_body({});
  if (current().type != Tok::eof) fail("unexpected tag");
  for (const auto& [place, what] : unknown_) throw SyntaxError{place, what};
  result.has_generation = has_generation_;
  return result;
}

Body Parser::parse_body(const Ends& ends) {
  const Deeper deeper(nesting_, current().place);
  Body body;
  while (current().type != Tok::eof) {
    if (current().type == Tok::data) {
      body.push_back(make(StmtKind::text));
      body.back()->text = next().text;
    } else if (current().type == Tok::variable_begin) {
      next();
      auto stmt = make(StmtKind::output);
      stmt->exprs.push_back(tuple(true));
      body.push_back(std::move(stmt));
      expect(Tok::variable_end, "end of print statement");
    } else {
      expect(Tok::block_begin, "a tag");
      if (is_any_name(ends)) return body;
      body.push_back(statement());
      expect(Tok::block_end, "end of statement block");
    }
  }
  if (!ends.empty()) fail(cat("the template ends, '", ends.back(), "' is missing"));
  return body;
}

Body Parser::statements(const Ends& ends) {
  skip_op(":");
  expect(Tok::block_end, "end of statement block");
  return parse_body(ends);
}

// Jinja gives these a frame of their own, where an unknown filter is an error again; functions also
// end the reach of break.
Body Parser::closed(const Ends& ends, bool function) {
  const bool soft = std::exchange(soft_, false);
  const int loops = function ? std::exchange(loops_, 0) : loops_;
  Body body = statements(ends);
  soft_ = soft;
  loops_ = loops;
  return body;
}

std::unique_ptr<Stmt> Parser::statement() {
  if (current().type != Tok::name) fail("tag name expected");
  const std::string& tag = current().text;
  if (tag == "for") return parse_for();
  if (tag == "if") return parse_if();
  if (tag == "set") return parse_set();
  if (tag == "with") return parse_with();
  if (tag == "macro") return parse_macro();
  if (tag == "call") return parse_call();
  if (tag == "filter") return parse_filter_block();
  if (tag == "generation") return parse_generation();
  if (tag == "block") return parse_block();
  if (tag == "print") return parse_print();
  if (tag == "break" || tag == "continue") return parse_loop_control();
  if (tag == "include" || tag == "import" || tag == "from" || tag == "extends")
    return parse_refused();
  if (tag == "autoescape") fail("autoescape is not supported: chat templates are not HTML");
  fail(cat("unknown tag '", tag, "'"));
}

std::unique_ptr<Stmt> Parser::parse_for() {
  auto stmt = make(StmtKind::for_loop);
  next();
  ++for_targets_;
  stmt->targets.push_back(target(false, {"in"}));
  expect_name("in");
  stmt->exprs.push_back(tuple(false, {"recursive"}));
  const bool soft = std::exchange(soft_, false);
  stmt->exprs.push_back(skip_name("if") ? expression() : nullptr);
  soft_ = soft;
  stmt->recursive = skip_name("recursive");
  loops_and_macros_.push_back(stmt.get());
  ++loops_;
  stmt->body = closed({"endfor", "else"}, false);
  --loops_;
  loops_and_macros_.pop_back();
  if (next().text == "else") {
    stmt->other = closed({"endfor"}, false);
    next();
  }
  --for_targets_;
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_if() {
  auto stmt = make(StmtKind::condition);
  const bool soft = std::exchange(soft_, true);
  while (true) {
    next();  // if or elif
    stmt->exprs.push_back(tuple(false));
    stmt->bodies.push_back(statements({"elif", "else", "endif"}));
    if (is_name("elif")) continue;
    if (next().text == "else") {
      stmt->other = statements({"endif"});
      next();
    }
    break;
  }
  soft_ = soft;
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_set() {
  auto stmt = make(StmtKind::assign);
  next();
  stmt->targets.push_back(target(true));
  if (skip_op("=")) {
    stmt->exprs.push_back(tuple(true));
    return stmt;
  }
  stmt->kind = StmtKind::assign_block;
  const bool soft = std::exchange(soft_, false);
  stmt->exprs.push_back(filter(nullptr, false));
  soft_ = soft;
  stmt->body = closed({"endset"}, false);
  next();
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_with() {
  auto stmt = make(StmtKind::with);
  next();
  while (current().type != Tok::block_end) {
    if (!stmt->targets.empty()) expect_op(",");
    stmt->targets.push_back(target(false));
    expect_op("=");
    stmt->exprs.push_back(expression());
  }
  stmt->body = closed({"endwith"}, false);
  next();
  return stmt;
}

void Parser::signature(Stmt& macro) {
  expect_op("(");
  while (!is_op(")")) {
    if (!macro.targets.empty()) expect_op(",");
    macro.targets.push_back(target_name());
    if (skip_op("=")) {
      macro.defaults.push_back(expression());
    } else if (!macro.defaults.empty()) {
      fail("non-default argument follows default argument");
    }
  }
  expect_op(")");
}

void Parser::macro_body(Stmt& macro, const Ends& ends) {
  loops_and_macros_.push_back(&macro);
  macro.body = closed(ends, true);
  loops_and_macros_.pop_back();
  next();
}

std::unique_ptr<Stmt> Parser::parse_macro() {
  auto stmt = make(StmtKind::macro);
  next();
  stmt->text = target_name()->name;
  signature(*stmt);
  macro_body(*stmt, {"endmacro"});
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_call() {
  auto stmt = make(StmtKind::call_block);
  next();
  stmt->text = "caller";
  if (is_op("(")) signature(*stmt);
  stmt->exprs.push_back(expression());
  if (stmt->exprs[0]->kind != ExprKind::call) fail("expected call");
  macro_body(*stmt, {"endcall"});
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_filter_block() {
  auto stmt = make(StmtKind::filter_block);
  next();
  const bool soft = std::exchange(soft_, false);
  stmt->exprs.push_back(filter(nullptr, true));
  soft_ = soft;
  stmt->body = closed({"endfilter"}, false);
  next();
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_generation() {
  auto stmt = make(StmtKind::generation);
  has_generation_ = true;
  next();
  stmt->body = closed({"endgeneration"}, true);
  next();
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_block() {
  auto stmt = make(StmtKind::scope);
  next();
  const std::string name = expect_name();
  skip_name("scoped");
  skip_name("required");
  stmt->body = closed({"endblock"}, true);
  next();
  skip_name(name);
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_print() {
  auto stmt = make(StmtKind::output);
  next();
  while (current().type != Tok::block_end) {
    if (!stmt->exprs.empty()) expect_op(",");
    stmt->exprs.push_back(expression());
  }
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_loop_control() {
  auto stmt = make(is_name("break") ? StmtKind::loop_break : StmtKind::loop_continue);
  if (loops_ == 0) fail(cat("'", current().text, "' outside loop"));
  next();
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_refused() {
  auto stmt = make(StmtKind::refuse);
  stmt->text = current().text;
  while (current().type != Tok::block_end && current().type != Tok::eof) next();
  return stmt;
}

Template parse_template(std::string_view source) { return Parser(source).run(); }

}  // namespace nibble::jinja
