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
    throw SyntaxError{node.place, cat("an expression nests deeper than ", kMaxExprHeight)};
  }
}

}  // namespace

ExprPtr Parser::make(ExprKind kind, Place place, std::vector<ExprPtr> kids) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->place = place;
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
  if (node.kind != ExprKind::name) fail("can't assign to this", node.place);
  if (node.name == "loop" && for_targets_ > 0) {
    fail("can't assign to special loop variable in for-loop", node.place);
  }
}

ExprPtr Parser::target(bool with_space, const Ends& ends) {
  ExprPtr node;
  if (with_space && look().type == Tok::op && look().text == ".") {
    node = make(ExprKind::space_field, current().place);
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
  ExprPtr node = make(ExprKind::name, current().place);
  node->name = expect_name();
  constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none",
                                                          "True", "False", "None"};
  if (std::find(kConstants.begin(), kConstants.end(), node->name) != kConstants.end()) {
    fail(cat("can't assign to '", node->name, "'"), node->place);
  }
  return node;
}

// ---- precedence ----

ExprPtr Parser::tuple(bool conditional, const Ends& ends, bool parentheses, bool simple) {
  const Place place = current().place;
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
    if (!parentheses) fail(cat("expected an expression, got ", shown(current())));
  }
  return make(ExprKind::tuple, place, std::move(items));
}

ExprPtr Parser::expression() {
  const Place place = current().place;
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
    node = make(ExprKind::conditional, place, std::move(kids));
  }
  --nesting_;
  return node;
}

ExprPtr Parser::logical_or() {
  const Place place = current().place;
  ExprPtr left = logical_and();
  while (skip_name("or"))
    left = make(ExprKind::logical_or, place, pack(std::move(left), logical_and()));
  return left;
}

ExprPtr Parser::logical_and() {
  const Place place = current().place;
  ExprPtr left = logical_not();
  while (skip_name("and")) {
    left = make(ExprKind::logical_and, place, pack(std::move(left), logical_not()));
  }
  return left;
}

ExprPtr Parser::logical_not() {
  if (!is_name("not")) return comparison();
  const Place place = next().place;
  if (++nesting_ > kMaxSourceNesting) fail("expressions nest too deeply");
  ExprPtr node = make(ExprKind::logical_not, place, pack(logical_not()));
  --nesting_;
  return node;
}

ExprPtr Parser::comparison() {
  const Place place = current().place;
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
  ExprPtr node = make(ExprKind::compare, place, std::move(kids));
  node->ops = std::move(ops);
  return node;
}

ExprPtr Parser::sum() {
  ExprPtr left = concat();
  while (is_op("+") || is_op("-")) {
    const Token op = next();
    left = make(ExprKind::arithmetic, op.place, pack(std::move(left), concat()));
    left->name = op.text;
  }
  return left;
}

ExprPtr Parser::concat() {
  const Place place = current().place;
  std::vector<ExprPtr> kids = pack(product());
  while (skip_op("~")) kids.push_back(product());
  return kids.size() == 1 ? std::move(kids[0]) : make(ExprKind::concat, place, std::move(kids));
}

ExprPtr Parser::product() {
  ExprPtr left = power();
  while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
    const Token op = next();
    left = make(ExprKind::arithmetic, op.place, pack(std::move(left), power()));
    left->name = op.text;
  }
  return left;
}

ExprPtr Parser::power() {
  ExprPtr left = unary(true);
  while (is_op("**")) {
    const Place place = next().place;
    left = make(ExprKind::arithmetic, place, pack(std::move(left), unary(true)));
    left->name = "**";
  }
  return left;
}

ExprPtr Parser::unary(bool with_filter) {
  const Place place = current().place;
  if (++nesting_ > kMaxSourceNesting) fail("expressions nest too deeply");
  ExprPtr node;
  if (skip_op("-")) {
    node = make(ExprKind::negative, place, pack(unary(false)));
  } else if (skip_op("+")) {
    node = make(ExprKind::positive, place, pack(unary(false)));
  } else {
    node = primary();
  }
  --nesting_;
  node = postfix(std::move(node));
  return with_filter ? filter_expression(std::move(node)) : std::move(node);
}

// ---- primaries ----

ExprPtr Parser::name_or_constant() {
  const Place place = current().place;
  const std::string name = next().text;
  ExprPtr node = make(ExprKind::constant, place);
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
  const Place place = token.place;
  switch (token.type) {
    case Tok::name:
      return name_or_constant();
    case Tok::string: {
      std::string text;
      while (current().type == Tok::string) text += next().text;
      ExprPtr node = make(ExprKind::constant, place);
      node->constant = Value::text(std::move(text));
      return node;
    }
    case Tok::integer:
    case Tok::real: {
      ExprPtr node = make(ExprKind::constant, place);
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
  fail(cat("unexpected ", shown(token)));
}

ExprPtr Parser::list() {
  const Place place = next().place;
  std::vector<ExprPtr> items;
  while (!is_op("]")) {
    if (!items.empty()) expect_op(",");
    if (is_op("]")) break;
    items.push_back(expression());
  }
  expect_op("]");
  return make(ExprKind::list, place, std::move(items));
}

ExprPtr Parser::dict() {
  const Place place = next().place;
  std::vector<ExprPtr> items;
  while (!is_op("}")) {
    if (!items.empty()) expect_op(",");
    if (is_op("}")) break;
    items.push_back(expression());
    expect_op(":");
    items.push_back(expression());
  }
  expect_op("}");
  return make(ExprKind::dict, place, std::move(items));
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
  const Place place = current().place;
  if (skip_op(".")) {
    const Token token = next();
    if (token.type == Tok::name) {
      ExprPtr result = make(ExprKind::attribute, token.place, pack(std::move(node)));
      result->name = token.text;
      return result;
    }
    if (token.type != Tok::integer) fail("expected name or number", token.place);
    ExprPtr key = make(ExprKind::constant, place);
    key->constant = Value::of(token.integer);
    return make(ExprKind::item, place, pack(std::move(node), std::move(key)));
  }
  expect_op("[");
  node = subscribed(std::move(node));
  expect_op("]");
  return node;
}

ExprPtr Parser::subscribed(ExprPtr node) {
  const Place place = current().place;
  std::vector<ExprPtr> keys;
  if (!is_op(":")) {
    if (is_op("]"))
      return make(ExprKind::item, place, pack(std::move(node), make(ExprKind::tuple, place)));
    keys.push_back(expression());
    while (skip_op(",")) keys.push_back(expression());
    if (keys.size() > 1) {
      return make(ExprKind::item, place,
                  pack(std::move(node), make(ExprKind::tuple, place, std::move(keys))));
    }
    if (!is_op(":")) return make(ExprKind::item, place, pack(std::move(node), std::move(keys[0])));
  } else {
    keys.push_back(nullptr);
  }
  next();
  std::vector<ExprPtr> kids = pack(std::move(node), std::move(keys[0]));
  kids.push_back(is_op(":") || is_op("]") ? nullptr : expression());
  const bool step = skip_op(":") && !is_op("]");
  kids.push_back(step ? expression() : nullptr);
  return make(ExprKind::slice, place, std::move(kids));
}

ExprPtr Parser::call(ExprPtr node) {
  const Place place = node->place;
  ExprPtr result = make(ExprKind::call, place, pack(std::move(node)));
  arguments(*result);
  return result;
}

void Parser::arguments(Expr& node) {
  const Place place = current().place;
  const auto ensure = [&](bool ok) {
    if (!ok) fail("invalid syntax for function call expression", place);
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

void Parser::check_known(bool known, std::string_view what, const std::string& name, Place place) {
  if (!known && !soft_) unknown_.emplace_back(place, cat("No ", what, " named '", name, "'."));
}

ExprPtr Parser::filter(ExprPtr node, bool inline_start) {
  while (inline_start || is_op("|")) {
    if (!inline_start) next();
    inline_start = false;
    const Place place = current().place;
    node = make(ExprKind::filter, place, pack(std::move(node)));
    node->name = dotted_name();
    check_known(find_filter(node->name) != nullptr, "filter", node->name, place);
    if (is_op("(")) arguments(*node);
  }
  return node;
}

ExprPtr Parser::test(ExprPtr node) {
  const Place place = next().place;
  const bool negated = skip_name("not");
  node = make(ExprKind::test, place, pack(std::move(node)));
  node->name = dotted_name();
  check_known(find_test(node->name) != nullptr, "test", node->name, place);
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
  return negated ? make(ExprKind::logical_not, place, pack(std::move(node))) : std::move(node);
}

}  // namespace nibble::jinja
