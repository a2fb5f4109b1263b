// Cuts a template into text and tokens, with Jinja2's white-space rules (trim_blocks and
// lstrip_blocks on, a last newline dropped, \r\n and \r read as \n).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::jinja {

enum class Tok : uint8_t {
  data,
  variable_begin,
  variable_end,
  block_begin,
  block_end,
  name,
  string,
  integer,
  real,
  op,
  eof
};

// Where something stands in the source; both count from 1, columns in characters.
struct Place {
  int line = 0, column = 0;
};

struct Token {
  Tok type;
  Place place;
  std::string text;  // data, name, decoded string, operator
  int64_t integer = 0;
  double real = 0;
};

// A mistake in the template's source; becomes a UserError with its place.
struct SyntaxError {
  Place place;
  std::string message;
};

std::vector<Token> tokenize(std::string_view source);  // throws SyntaxError

}  // namespace nibble::jinja
