// Expressions, from the loosest binding (x if y else z) to the tightest (literals and subscripts).
#include <algorithm>

#include "base/text.h"
#include "model/text/jinja_filters.h"
#include "model/text/jinja_parser.h"

namespace nibble::jinja {

namespace {

std::vector<ExprPtr> pack(ExprPtr a) {
  std::vector<ExprPtr> kids;
  kids.push_back(std::move(a));
  return kids;
}

std::vector<ExprPtr> pack(ExprPtr a, ExprPtr b) {
  std::vector<ExprPtr> kids = pack(std::move(a));
  kids.push_back(std::move(b));
  return kids;
}

// Raises a node to stand above a kid; a tree too tall to walk is refused.
void above(Expr& node, const ExprPtr& kid) {
  if (kid == nullptr) return;
  node.height = std::max(node.height, kid->height + 1);
  if (node.height > kMaxExprHeight) {
    throw SyntaxError{node.line, cat("an expression nests deeper than ", kMaxExprHeight)};
  }
}

}  // namespace

ExprPtr Parser::make(ExprKind kind, int line, std::vector<ExprPtr> kids) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = line;
  for (const ExprPtr& kid : kids) above(*node, kid);
  node->kids = std::move(kids);
  return node;
}

// ---- targets ----

void Parser::check_target(const Expr& node) {
  if (node.kind == ExprKind::space_field) return;
  if (node.kind == ExprKind::tuple) {
    for (const ExprPtr& kid : node.kids) check_target(*kid);
    return;
  }
  if (node.kind != ExprKind::name) fail("can't assign to this", node.line);
  if (node.name == "loop" && for_targets_ > 0) {
    fail("can't assign to special loop variable in for-loop", node.line);
  }
}

ExprPtr Parser::target(bool with_space, const Ends& ends) {
  ExprPtr node;
  if (with_space && look().type == Tok::op && look().text == ".") {
    node = make(ExprKind::space_field, current().line);
    node->name = expect_name();
    next();
    node->field = expect_name();
  } else {
    node = tuple(true, ends, false, true);
  }
  check_target(*node);
  return node;
}

ExprPtr Parser::target_name() {
  ExprPtr node = make(ExprKind::name, current().line);
  node->name = expect_name();
  constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none",
                                                          "True", "False", "None"};
  if (std::find(kConstants.begin(), kConstants.end(), node->name) != kConstants.end()) {
    fail(cat("can't assign to '", node->name, "'"), node->line);
  }
  return node;
}

// ---- precedence ----

ExprPtr Parser::tuple(bool conditional, const Ends& ends, bool parentheses, bool simple) {
  const int line = current().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_op(",");
    const Tok type = current().type;
    if (type == Tok::variable_end || type == Tok::block_end || is_op(")") || is_any_name(ends))
      break;
    items.push_back(simple ? primary() : conditional ? expression() : logical_or());
    if (!is_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return std::move(items[0]);
    if (!parentheses) fail(cat("expected an expression, got '", current().text, "'"));
  }
  return make(ExprKind::tuple, line, std::move(items));
}

ExprPtr Parser::expression() {
  const int line = current().line;
  if (++nesting_ > kMaxSourceNesting) fail("expressions nest too deeply");
  const size_t unknown = unknown_.size();
  ExprPtr node = logical_or();
  while (skip_name("if")) {
    const bool soft = std::exchange(soft_, true);
    unknown_.resize(unknown);  // what stands before an if is only reached when it holds
    ExprPtr test = logical_or();
    ExprPtr other = skip_name("else") ? expression() : nullptr;
    soft_ = soft;
    std::vector<ExprPtr> kids = pack(std::move(test), std::move(node));
    kids.push_back(std::move(other));
    node = make(ExprKind::conditional, line, std::move(kids));
  }
  --nesting_;
  return node;
}

ExprPtr Parser::logical_or() {
  const int line = current().line;
  ExprPtr left = logical_and();
  while (skip_name("or"))
    left = make(ExprKind::logical_or, line, pack(std::move(left), logical_and()));
  return left;
}

ExprPtr Parser::logical_and() {
  const int line = current().line;
  ExprPtr left = logical_not();
  while (skip_name("and")) {
    left = make(ExprKind::logical_and, line, pack(std::move(left), logical_not()));
  }
  return left;
}

ExprPtr Parser::logical_not() {
  if (!is_name("not")) return comparison();
  const int line = next().line;
  if (++nesting_ > kMaxSourceNesting) fail("expressions nest too deeply");
  ExprPtr node = make(ExprKind::logical_not, line, pack(logical_not()));
  --nesting_;
  return node;
}

ExprPtr Parser::comparison() {
  const int line = current().line;
  std::vector<ExprPtr> kids = pack(sum());
  std::vector<std::string> ops;
  constexpr std::array<std::string_view, 6> kOps = {"==", "!=", "<", "<=", ">", ">="};
  while (true) {
    if (current().type == Tok::op &&
        std::find(kOps.begin(), kOps.end(), current().text) != kOps.end()) {
      ops.push_back(next().text);
    } else if (skip_name("in")) {
      ops.emplace_back("in");
    } else if (is_name("not") && look().type == Tok::name && look().text == "in") {
      next();
      next();
      ops.emplace_back("not in");
    } else {
      break;
    }
    kids.push_back(sum());
  }
  if (ops.empty()) return std::move(kids[0]);
  ExprPtr node = make(ExprKind::compare, line, std::move(kids));
  node->ops = std::move(ops);
  return node;
}

ExprPtr Parser::sum() {
  const int line = current().line;
  ExprPtr left = concat();
  while (is_op("+") || is_op("-")) {
    const std::string op = next().text;
    left = make(ExprKind::arithmetic, line, pack(std::move(left), concat()));
    left->name = op;
  }
  return left;
}

ExprPtr Parser::concat() {
  const int line = current().line;
  std::vector<ExprPtr> kids = pack(product());
  while (skip_op("~")) kids.push_back(product());
  return kids.size() == 1 ? std::move(kids[0]) : make(ExprKind::concat, line, std::move(kids));
}

ExprPtr Parser::product() {
  const int line = current().line;
  ExprPtr left = power();
  while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
    const std::string op = next().text;
    left = make(ExprKind::arithmetic, line, pack(std::move(left), power()));
    left->name = op;
  }
  return left;
}

ExprPtr Parser::power() {
  const int line = current().line;
  ExprPtr left = unary(true);
  while (skip_op("**")) {
    left = make(ExprKind::arithmetic, line, pack(std::move(left), unary(true)));
    left->name = "**";
  }
  return left;
}

ExprPtr Parser::unary(bool with_filter) {
  const int line = current().line;
  if (++nesting_ > kMaxSourceNesting) fail("expressions nest too deeply");
  ExprPtr node;
  if (skip_op("-")) {
    node = make(ExprKind::negative, line, pack(unary(false)));
  } else if (skip_op("+")) {
    node = make(ExprKind::positive, line, pack(unary(false)));
  } else {
    node = primary();
  }
  --nesting_;
  node = postfix(std::move(node));
  return with_filter ? filter_expression(std::move(node)) : std::move(node);
}

// ---- primaries ----

ExprPtr Parser::name_or_constant() {
  const int line = current().line;
  const std::string name = next().text;
  ExprPtr node = make(ExprKind::constant, line);
  if (name == "true" || name == "True") {
    node->constant = Value::of(true);
  } else if (name == "false" || name == "False") {
    node->constant = Value::of(false);
  } else if (name == "none" || name == "None") {
    node->constant = Value::none();
  } else {
    node->kind = ExprKind::name;
    node->name = name;
    for (Stmt* owner : loops_and_macros_) {
      owner->uses_loop = owner->uses_loop || name == "loop";
      owner->uses_caller = owner->uses_caller || name == "caller";
      owner->uses_varargs = owner->uses_varargs || name == "varargs";
      owner->uses_kwargs = owner->uses_kwargs || name == "kwargs";
    }
  }
  return node;
}

ExprPtr Parser::primary() {
  const Token& token = current();
  const int line = token.line;
  switch (token.type) {
    case Tok::name:
      return name_or_constant();
    case Tok::string: {
      std::string text;
      while (current().type == Tok::string) text += next().text;
      ExprPtr node = make(ExprKind::constant, line);
      node->constant = Value::text(std::move(text));
      return node;
    }
    case Tok::integer:
    case Tok::real: {
      ExprPtr node = make(ExprKind::constant, line);
      node->constant =
          token.type == Tok::integer ? Value::of(token.integer) : Value::of(token.real);
      next();
      return node;
    }
    default:
      break;
  }
  if (is_op("[")) return list();
  if (is_op("{")) return dict();
  if (skip_op("(")) {
    if (++nesting_ > kMaxSourceNesting) fail("expressions nest too deeply");
    ExprPtr node = tuple(true, {}, true);
    --nesting_;
    expect_op(")");
    return node;
  }
  fail(cat("unexpected '", token.text, "'"));
}

ExprPtr Parser::list() {
  const int line = next().line;
  std::vector<ExprPtr> items;
  while (!is_op("]")) {
    if (!items.empty()) expect_op(",");
    if (is_op("]")) break;
    items.push_back(expression());
  }
  expect_op("]");
  return make(ExprKind::list, line, std::move(items));
}

ExprPtr Parser::dict() {
  const int line = next().line;
  std::vector<ExprPtr> items;
  while (!is_op("}")) {
    if (!items.empty()) expect_op(",");
    if (is_op("}")) break;
    items.push_back(expression());
    expect_op(":");
    items.push_back(expression());
  }
  expect_op("}");
  return make(ExprKind::dict, line, std::move(items));
}

// ---- what follows a primary ----

ExprPtr Parser::postfix(ExprPtr node) {
  while (true) {
    if (is_op(".") || is_op("[")) {
      node = subscript(std::move(node));
    } else if (is_op("(")) {
      node = call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::filter_expression(ExprPtr node) {
  while (true) {
    if (is_op("|")) {
      node = filter(std::move(node), false);
    } else if (is_name("is")) {
      node = test(std::move(node));
    } else if (is_op("(")) {
      node = call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::subscript(ExprPtr node) {
  const int line = current().line;
  if (skip_op(".")) {
    const Token token = next();
    if (token.type == Tok::name) {
      ExprPtr result = make(ExprKind::attribute, line, pack(std::move(node)));
      result->name = token.text;
      return result;
    }
    if (token.type != Tok::integer) fail("expected name or number", token.line);
    ExprPtr key = make(ExprKind::constant, line);
    key->constant = Value::of(token.integer);
    return make(ExprKind::item, line, pack(std::move(node), std::move(key)));
  }
  expect_op("[");
  node = subscribed(std::move(node));
  expect_op("]");
  return node;
}

ExprPtr Parser::subscribed(ExprPtr node) {
  const int line = current().line;
  std::vector<ExprPtr> keys;
  if (!is_op(":")) {
    if (is_op("]"))
      return make(ExprKind::item, line, pack(std::move(node), make(ExprKind::tuple, line)));
    keys.push_back(expression());
    while (skip_op(",")) keys.push_back(expression());
    if (keys.size() > 1) {
      return make(ExprKind::item, line,
                  pack(std::move(node), make(ExprKind::tuple, line, std::move(keys))));
    }
    if (!is_op(":")) return make(ExprKind::item, line, pack(std::move(node), std::move(keys[0])));
  } else {
    keys.push_back(nullptr);
  }
  next();
  std::vector<ExprPtr> kids = pack(std::move(node), std::move(keys[0]));
  kids.push_back(is_op(":") || is_op("]") ? nullptr : expression());
  const bool step = skip_op(":") && !is_op("]");
  kids.push_back(step ? expression() : nullptr);
  return make(ExprKind::slice, line, std::move(kids));
}

ExprPtr Parser::call(ExprPtr node) {
  const int line = current().line;
  ExprPtr result = make(ExprKind::call, line, pack(std::move(node)));
  arguments(*result);
  return result;
}

void Parser::arguments(Expr& node) {
  const int line = current().line;
  const auto ensure = [&](bool ok) {
    if (!ok) fail("invalid syntax for function call expression", line);
  };
  Arguments& to = node.arguments;
  expect_op("(");
  for (bool first = true; !is_op(")"); first = false) {
    if (!first) expect_op(",");
    if (is_op(")")) break;
    if (skip_op("*")) {
      ensure(to.star == nullptr && to.double_star == nullptr);
      to.star = expression();
      above(node, to.star);
    } else if (skip_op("**")) {
      ensure(to.double_star == nullptr);
      to.double_star = expression();
      above(node, to.double_star);
    } else if (current().type == Tok::name && look().type == Tok::op && look().text == "=") {
      ensure(to.double_star == nullptr);
      std::string key = next().text;
      next();
      to.named.emplace_back(std::move(key), expression());
      above(node, to.named.back().second);
    } else {
      ensure(to.star == nullptr && to.double_star == nullptr && to.named.empty());
      to.args.push_back(expression());
      above(node, to.args.back());
    }
  }
  expect_op(")");
}

std::string Parser::dotted_name() {
  std::string name = expect_name();
  while (skip_op(".")) name += "." + expect_name();
  return name;
}

void Parser::check_known(bool known, std::string_view what, const std::string& name, int line) {
  if (!known && !soft_) unknown_.emplace_back(line, cat("No ", what, " named '", name, "'"));
}

ExprPtr Parser::filter(ExprPtr node, bool inline_start) {
  while (inline_start || is_op("|")) {
    if (!inline_start) next();
    inline_start = false;
    const int line = current().line;
    node = make(ExprKind::filter, line, pack(std::move(node)));
    node->name = dotted_name();
    check_known(find_filter(node->name) != nullptr, "filter", node->name, line);
    if (is_op("(")) arguments(*node);
  }
  return node;
}

ExprPtr Parser::test(ExprPtr node) {
  const int line = next().line;
  const bool negated = skip_name("not");
  node = make(ExprKind::test, line, pack(std::move(node)));
  node->name = dotted_name();
  check_known(find_test(node->name) != nullptr, "test", node->name, line);
  const Tok type = current().type;
  const bool literal =
      type == Tok::string || type == Tok::integer || type == Tok::real || is_op("[") || is_op("{");
  if (is_op("(")) {
    arguments(*node);
  } else if (literal || (type == Tok::name && !is_any_name({"else", "or", "and"}))) {
    if (is_name("is")) fail("You cannot chain multiple tests with is");
    node->arguments.args.push_back(postfix(primary()));
    above(*node, node->arguments.args.back());
  }
  return negated ? make(ExprKind::logical_not, line, pack(std::move(node))) : std::move(node);
}

}  // namespace nibble::jinja
