// PCRE2 with its JIT. Limits on matching and on the JIT's stack turn an expression that explodes
// into a mistake of the tokenizer file instead of a hang.
#include "model/text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/errors.h"

namespace nibble::text {

namespace {

constexpr uint32_t kMatchLimit = 100'000'000;
constexpr size_t kJitStackStart = 64 << 10;
constexpr size_t kJitStackMost = 64 << 20;

// Oniguruma's \s is Unicode White_Space and its \w is Alphabetic, M, Nd, Pc; PCRE2 counts U+180E
// as a space and leaves marks out of words.
std::string to_pcre(std::string_view expression) {
  std::string out;
  int depth = 0;  // inside [...]: Oniguruma nests classes, PCRE2 does not; only \-escapes matter
  for (size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c == '\\' && i + 1 < expression.size()) {
      const char next = expression[++i];
      const bool inside = depth > 0;
      if (next == 's') {
        out += "\\p{White_Space}";
      } else if (next == 'S') {
        out += "\\P{White_Space}";
      } else if (next == 'w') {
        out += inside ? "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
                      : "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
      } else if (next == 'W' && !inside) {
        out += "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]";
      } else if (next == 'h') {
        out += inside ? "0-9a-fA-F" : "[0-9a-fA-F]";
      } else {
        out.push_back(c);
        out.push_back(next);
      }
      continue;
    }
    if (c == '[' && depth == 0) {
      depth = 1;
      out.push_back(c);
      // A ] right after [ or [^ is an ordinary character.
      if (i + 1 < expression.size() && expression[i + 1] == '^') out.push_back(expression[++i]);
      if (i + 1 < expression.size() && expression[i + 1] == ']') out.push_back(expression[++i]);
      continue;
    }
    if (c == ']' && depth == 1) depth = 0;
    out.push_back(c);
  }
  return out;
}

}  // namespace

struct MatchScratch::Impl {
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;

  Impl() {
    data = pcre2_match_data_create(1, nullptr);
    context = pcre2_match_context_create(nullptr);
    stack = pcre2_jit_stack_create(kJitStackStart, kJitStackMost, nullptr);
    check(data != nullptr && context != nullptr && stack != nullptr, "memory for matching");
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Impl() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

MatchScratch::MatchScratch() : impl_(std::make_unique<Impl>()) {}
MatchScratch::~MatchScratch() = default;

struct Pattern::Code {
  pcre2_code* code = nullptr;
  std::string expression;
  std::string file;
  bool jit = false;

  ~Code() { pcre2_code_free(code); }
};

Pattern Pattern::regex(std::string_view expression, std::string_view file) {
  const std::string translated = to_pcre(expression);
  auto made = std::make_shared<Code>();
  made->expression = std::string(expression);
  made->file = std::string(file);
  int error = 0;
  PCRE2_SIZE place = 0;
  // Oniguruma's default syntax is Ruby's: ^ and $ match at every line.
  made->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &place, nullptr);
  if (made->code == nullptr) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof message);
    throw UserError(file,
                    cat("cannot read the regular expression \"", expression,
                        "\": ", reinterpret_cast<const char*>(message)),
                    "use a tokenizer whose patterns are in Oniguruma or PCRE syntax",
                    Exit::bad_data);
  }
  // Without JIT support on this machine the interpreter matches the same.
  made->jit = pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE) == 0;
  Pattern pattern;
  pattern.cut_ = cut_of(expression);
  pattern.code_ = std::move(made);
  return pattern;
}

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

Pattern::Match Pattern::find(std::string_view text, size_t from, MatchScratch& scratch) const {
  if (code_ == nullptr) {
    const size_t at = literal_.empty() ? std::string_view::npos : text.find(literal_, from);
    if (at == std::string_view::npos) return {};
    return {at, at + literal_.size(), true};
  }
  if (cut_ != nullptr) {
    size_t end = from;
    const bool found = cut_(text, from, &end, 1) > 0;
    return {from, end, found};
  }
  MatchScratch::Impl& m = scratch.impl();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const int rc = code_->jit ? pcre2_jit_match(code_->code, subject, text.size(), from,
                                              PCRE2_NO_UTF_CHECK, m.data, m.context)
                            : pcre2_match(code_->code, subject, text.size(), from,
                                          PCRE2_NO_UTF_CHECK, m.data, m.context);
  if (rc == PCRE2_ERROR_NOMATCH) return {};
  if (rc < 0) {
    throw UserError(
        code_->file,
        cat("the regular expression \"", code_->expression, "\" needs too much work on ",
            text.size(), " bytes of text (PCRE2 error ", rc, ")"),
        "split the text, or simplify the pattern in the tokenizer file", Exit::bad_data);
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(m.data);
  return {bounds[0], bounds[1], true};
}

}  // namespace nibble::text
