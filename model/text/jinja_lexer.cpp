// A hand-written twin of Jinja2's lexer: the same longest-match order of token rules, the same
// treatment of -, + and line starts around tags.
#include "model/text/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "base/text.h"
#include "model/text/jinja_unicode.h"

namespace nibble::jinja {

namespace {

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  return out;
}

bool digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {
    if (!source_.empty() && source_.back() == '\n') source_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) text();
    push(Tok::eof, "");
    return std::move(tokens_);
  }

 private:
  char peek(size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  bool here(std::string_view s) const { return source_.compare(at_, s.size(), s) == 0; }
  [[noreturn]] void fail(std::string message) const {
    throw SyntaxError{place_, std::move(message)};
  }

  void push(Tok type, std::string text) { tokens_.push_back({type, place_, std::move(text)}); }

  void advance(size_t to) {
    for (; at_ < to; ++at_) {
      if (source_[at_] == '\n') {
        ++place_.line;
        place_.column = 1;
      } else if ((source_[at_] & 0xC0) != 0x80) {
        ++place_.column;
      }
    }
  }

  size_t skip_space(size_t at) const {
    while (at < source_.size()) {
      size_t next = at;
      if (!is_space(next_point(source_, next))) break;
      at = next;
    }
    return at;
  }

  // Data up to the next tag, with what the tag's sign and lstrip_blocks take from it.
  void text() {
    size_t tag = at_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        push(Tok::data, source_.substr(at_));
        advance(source_.size());
        return;
      }
      const char c = source_[tag + 1];
      if (c == '{' || c == '%' || c == '#') break;
      ++tag;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    std::string_view data = std::string_view(source_).substr(at_, tag - at_);
    if (sign == '-') {
      data = strip_right(data);
    } else if (sign != '+' && kind != '{') {
      const size_t newline = data.rfind('\n');
      const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((start > 0 || line_starting_) && strip_left(data.substr(start)).empty()) {
        data = data.substr(0, start);
      }
    }
    if (!data.empty()) push(Tok::data, std::string(data));
    advance(tag);
    const size_t body = tag + 2 + (sign == '-' || sign == '+' ? 1 : 0);
    if (kind == '#') return comment(body);
    if (kind == '%' && raw(body)) return;
    push(kind == '{' ? Tok::variable_begin : Tok::block_begin, "");
    advance(body);
    line_starting_ = false;
    tag_tokens(kind == '{');
  }

  // After the end of a block or comment: what its sign and trim_blocks swallow.
  void after_end(size_t end, char sign) {
    if (sign == '-') {
      end = skip_space(end);
    } else if (sign != '+' && end < source_.size() && source_[end] == '\n') {
      ++end;
    }
    line_starting_ = source_[end - 1] == '\n';
    advance(end);
  }

  void comment(size_t body) {
    const size_t end = source_.find("#}", body);
    if (end == std::string::npos) fail("Missing end of comment tag");
    after_end(end + 2, end > body ? source_[end - 1] : '\0');
  }

  // {% raw %} … {% endraw %}
  bool raw(size_t body) {
    size_t at = skip_space(body);
    if (source_.compare(at, 3, "raw") != 0) return false;
    at = skip_space(at + 3);
    const bool dash = at < source_.size() && source_[at] == '-';
    if (source_.compare(at + (dash ? 1 : 0), 2, "%}") != 0) return false;
    at += dash ? 3 : 2;
    if (dash) at = skip_space(at);
    line_starting_ = source_[at - 1] == '\n';
    advance(at);
    for (size_t tag = at_; (tag = source_.find("{%", tag)) != std::string::npos; tag += 2) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      size_t end = skip_space(tag + 2 + (sign == '-' || sign == '+' ? 1 : 0));
      if (source_.compare(end, 6, "endraw") != 0) continue;
      end = skip_space(end + 6);
      const char close = end < source_.size() ? source_[end] : '\0';
      if (close == '-' || close == '+') ++end;
      if (source_.compare(end, 2, "%}") != 0) continue;
      raw_data(tag, sign);
      advance(tag);
      after_end(end + 2, close);
      return true;
    }
    fail("Missing end of raw directive");
  }

  void raw_data(size_t end, char sign) {
    std::string_view data = std::string_view(source_).substr(at_, end - at_);
    if (sign == '-') {
      data = strip_right(data);
    } else if (sign != '+') {
      const size_t newline = data.rfind('\n');
      const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((start > 0 || line_starting_) && strip_left(data.substr(start)).empty()) {
        data = data.substr(0, start);
      }
    }
    if (!data.empty()) push(Tok::data, std::string(data));
  }

  void tag_tokens(bool variable) {
    std::string open;  // brackets that wait for their partner
    while (true) {
      if (at_ >= source_.size()) return;  // the parser reports what is missing
      if (open.empty() && end_of_tag(variable)) return;
      const size_t space = skip_space(at_);
      if (space != at_) {
        advance(space);
        continue;
      }
      const char c = peek();
      if (digit(c)) {
        number();
      } else if (c == '\'' || c == '"') {
        string(c);
      } else if (!name()) {
        operation(open);
      }
    }
  }

  bool end_of_tag(bool variable) {
    const char sign = peek();
    const bool signed_end = sign == '-' || (sign == '+' && !variable);
    const std::string_view end = variable ? "}}" : "%}";
    if (source_.compare(at_ + (signed_end ? 1 : 0), 2, end) != 0) return false;
    push(variable ? Tok::variable_end : Tok::block_end, "");
    const size_t after = at_ + (signed_end ? 3 : 2);
    if (!variable) {
      after_end(after, sign);
    } else {
      const size_t to = sign == '-' ? skip_space(after) : after;
      line_starting_ = source_[to - 1] == '\n';
      advance(to);
    }
    return true;
  }

  // digits with single underscores between them; npos when there are none
  size_t digits(size_t at) const {
    if (at >= source_.size() || !digit(source_[at])) return std::string::npos;
    while (at < source_.size()) {
      if (digit(source_[at])) {
        ++at;
      } else if (source_[at] == '_' && at + 1 < source_.size() && digit(source_[at + 1])) {
        ++at;
      } else {
        break;
      }
    }
    return at;
  }

  void number() {
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    size_t end = digits(at_);
    bool real = false;
    if (!after_dot) {
      size_t fraction =
          end < source_.size() && source_[end] == '.' ? digits(end + 1) : std::string::npos;
      size_t exponent = fraction != std::string::npos ? fraction : end;
      if (exponent < source_.size() && (source_[exponent] | 32) == 'e') {
        ++exponent;
        if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-'))
          ++exponent;
        exponent = digits(exponent);
      } else {
        exponent = std::string::npos;
      }
      real = fraction != std::string::npos || exponent != std::string::npos;
      if (real) end = exponent != std::string::npos ? exponent : fraction;
    }
    if (!real) end = integer_end(end);
    std::string text = source_.substr(at_, end - at_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    push(real ? Tok::real : Tok::integer, text);
    if (real) {
      tokens_.back().real = std::strtod(text.c_str(), nullptr);
    } else {
      tokens_.back().integer = integer_value(text);
    }
    advance(end);
  }

  // Where the integer at at_ ends: 0x1f, 0b1, 0o7, zeros, or a decimal that starts with 1 to 9.
  size_t integer_end(size_t decimal_end) const {
    if (source_[at_] != '0') return decimal_end;
    const auto letter = static_cast<char>(peek(1) | 32);
    const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    const auto valid = [&](char c) {
      const int value = digit(c)                             ? c - '0'
                        : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                             : 99;
      return value < base;
    };
    size_t end = at_ + 1;
    if (base != 10) {
      size_t at = at_ + 2;
      while (at < source_.size() &&
             (valid(source_[at]) ||
              (source_[at] == '_' && at + 1 < source_.size() && valid(source_[at + 1])))) {
        ++at;
      }
      return at > at_ + 2 ? at : end;
    }
    while (end < source_.size() &&
           (source_[end] == '0' ||
            (source_[end] == '_' && end + 1 < source_.size() && source_[end + 1] == '0'))) {
      ++end;
    }
    return end;
  }

  int64_t integer_value(const std::string& text) const {
    const char letter = text.size() > 2 ? static_cast<char>(text[1] | 32) : '\0';
    const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    const char* begin = text.data() + (base == 10 ? 0 : 2);
    int64_t value = 0;
    const auto result = std::from_chars(begin, text.data() + text.size(), value, base);
    if (result.ec != std::errc()) fail(cat("the integer ", text, " does not fit in 64 bits"));
    return value;
  }

  bool name() {
    size_t at = at_;
    const char32_t first = next_point(source_, at);
    if (!is_word(first)) return false;
    size_t end = at;
    bool good = is_identifier_start(first);
    while (at < source_.size()) {
      const char32_t c = next_point(source_, at);
      if (!is_word(c) && !is_identifier_part(c)) break;
      good = good && is_identifier_part(c);
      end = at;
    }
    if (!good) fail("Invalid character in identifier");
    push(Tok::name, source_.substr(at_, end - at_));
    advance(end);
    return true;
  }

  void string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail(cat("unexpected char ", quote, ": the string does not end"));
    push(Tok::string, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    advance(end + 1);
  }

  // Python's unicode-escape. Unknown escapes keep their backslash.
  std::string unescape(std::string_view text) const {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const char c = text[at++];
      if (c != '\\') {
        out += c;
        continue;
      }
      const char e = text[at++];
      constexpr std::string_view kFrom = "abfnrtv\\'\"", kTo = "\a\b\f\n\r\t\v\\'\"";
      if (const size_t k = kFrom.find(e); k != std::string_view::npos) {
        out += kTo[k];
      } else if (e == 'x' || e == 'u' || e == 'U') {
        append_code(out, text, at, e == 'x' ? 2 : e == 'u' ? 4 : 8);
      } else if (e >= '0' && e <= '7') {
        char32_t value = static_cast<char32_t>(e - '0');
        for (int i = 0; i < 2 && at < text.size() && text[at] >= '0' && text[at] <= '7'; ++i) {
          value = value * 8 + static_cast<char32_t>(text[at++] - '0');
        }
        append_point(out, value);
      } else if (e == 'N') {
        fail("\\N{…} escapes are not supported");
      } else if (e != '\n') {
        out += '\\';
        out += e;
      }
    }
    return out;
  }

  void append_code(std::string& out, std::string_view text, size_t& at, size_t count) const {
    const std::string hex(text.substr(at, count));
    uint32_t code = 0;
    const auto result = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
    if (hex.size() != count || result.ptr != hex.data() + count)
      fail("truncated \\x or \\u escape");
    at += count;
    if (code >= 0xD800 && code < 0xDC00 && text.substr(at, 2) == "\\u" && count == 4) {
      // A surrogate pair: one character, as json and JavaScript write it.
      uint32_t low = 0;
      const std::string rest(text.substr(at + 2, 4));
      std::from_chars(rest.data(), rest.data() + rest.size(), low, 16);
      if (low >= 0xDC00 && low < 0xE000) {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        at += 6;
      }
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) fail("illegal Unicode character");
    append_point(out, code);
  }

  void operation(std::string& open) {
    constexpr std::array<std::string_view, 6> kLong = {"//", "**", "==", "!=", ">=", "<="};
    std::string text(1, peek());
    for (std::string_view op : kLong) {
      if (here(op)) text = op;
    }
    if (text.size() == 1 &&
        std::string_view("+-/*%~[](){}><=.:|,;").find(text) == std::string_view::npos) {
      fail(cat("unexpected char '", text, "'"));
    }
    if (text == "{") open += '}';
    if (text == "(") open += ')';
    if (text == "[") open += ']';
    if (text == "}" || text == ")" || text == "]") {
      if (open.empty()) fail(cat("unexpected '", text, "'"));
      if (open.back() != text[0])
        fail(cat("unexpected '", text, "', expected '", open.back(), "'"));
      open.pop_back();
    }
    push(Tok::op, text);
    advance(at_ + text.size());
  }

  std::string source_;
  size_t at_ = 0;
  Place place_{1, 1};
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace nibble::jinja
