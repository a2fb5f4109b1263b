// The tree of a parsed template. Height is bounded, so walking and destroying it by recursion is
// safe.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/text/jinja_lexer.h"
#include "model/text/jinja_value.h"

namespace nibble::jinja {

enum class ExprKind : uint8_t {
  constant,   // constant
  name,       // name
  list,       // kids
  tuple,      // kids
  dict,       // kids: key, value, key, value …
  attribute,  // kids[0].name
  item,       // kids[0][kids[1]]
  slice,      // kids[0][kids[1]:kids[2]:kids[3]], null where left out
  call,       // kids[0](arguments)
  filter,     // kids[0] | name(arguments); a null kid is the text of a filter block
  test,       // kids[0] is name(arguments)
  logical_not,
  logical_and,
  logical_or,
  negative,
  positive,
  arithmetic,   // kids[0] name kids[1]
  concat,       // kids joined by ~
  compare,      // kids[0] ops[0] kids[1] ops[1] kids[2] …
  conditional,  // kids[1] if kids[0] else kids[2], which may be null
  space_field,  // target only: name.field of a namespace
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Arguments {
  std::vector<ExprPtr> args;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star, double_star;
};

struct Expr {
  ExprKind kind;
  Place place;
  int height = 1;
  std::string name, field;
  Value constant;
  std::vector<ExprPtr> kids;
  std::vector<std::string> ops;
  Arguments arguments;
};

enum class StmtKind : uint8_t {
  text,          // text
  output,        // exprs
  assign,        // target = exprs[0]
  assign_block,  // target = body, through exprs[0] when there is a filter
  for_loop,      // for target in exprs[0] if exprs[1] body else other
  condition,     // if exprs[i] bodies[i] …, else other
  with,          // targets[i] = exprs[i], body
  macro,         // name(targets …) with defaults for the last ones, body
  call_block,    // exprs[0] is the call; targets, defaults, body are its caller
  filter_block,  // exprs[0] over body
  generation,
  scope,
  loop_break,
  loop_continue,
  refuse,  // include, import, extends: text says which
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct Stmt {
  StmtKind kind;
  Place place;
  std::string text;  // of data; the name of a macro
  std::vector<ExprPtr> exprs, targets, defaults;
  Body body, other;
  std::vector<Body> bodies;
  bool recursive = false;
  bool uses_loop = false, uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

struct Template {
  Body body;
  bool has_generation = false;
};

Template parse_template(std::string_view source);  // throws SyntaxError

}  // namespace nibble::jinja
