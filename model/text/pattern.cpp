// PCRE2 with its JIT. Limits on matching and on the JIT's stack turn an expression that explodes
// into a mistake of the tokenizer file instead of a hang.
#include "model/text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/errors.h"

namespace nibble::text {

namespace {

constexpr uint32_t kMatchLimit = 100'000'000;
constexpr size_t kJitStackStart = 64 << 10;
constexpr size_t kJitStackMost = 64 << 20;

// Writes an Oniguruma expression as PCRE2 understands it.
class Translator {
 public:
  Translator(std::string_view expression, std::string_view file) : in_(expression), file_(file) {}
  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_++];
      if (c == '\\' && at_ < in_.size()) {
        escape(in_[at_++]);
      } else if (c == '[') {
        open_class();
      } else if (c == ']' && depth_ > 0) {
        if (--depth_ == 0) out_.push_back(c);
      } else if (c == '{' && depth_ == 0) {
        interval();
      } else {
        out_.push_back(c);
      }
    }
    return std::move(out_);
  }

 private:
  // Oniguruma's \s is Unicode White_Space and its \w is Alphabetic, M, Nd, Pc and Latin-1's other
  // numbers; PCRE2 counts U+180E as a space and leaves marks out of words.
  void escape(char next) {
    constexpr const char* kWord =
        "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";
    const bool inside = depth_ > 0;
    if (next == 's') {
      out_ += "\\p{White_Space}";
    } else if (next == 'S') {
      out_ += "\\P{White_Space}";
    } else if (next == 'w') {
      out_ += inside ? std::string(kWord) : cat("[", kWord, "]");
    } else if (next == 'W' && !inside) {
      out_ += cat("[^", kWord, "]");
    } else if (next == 'h') {
      out_ += inside ? "0-9a-fA-F" : "[0-9a-fA-F]";
    } else if (next == 'u' && at_ + 4 <= in_.size()) {  // \u3042
      out_ += cat("\\x{", in_.substr(at_, 4), "}");
      at_ += 4;
    } else {
      out_.push_back('\\');
      out_.push_back(next);
    }
  }

  // Oniguruma nests classes and joins them; PCRE2 has one level.
  void open_class() {
    if (depth_ > 0 && next_is(':')) {  // [:alpha:]
      const size_t end = std::min(in_.find(":]", at_), in_.size() - 1);
      out_ += in_.substr(at_ - 1, end + 2 - (at_ - 1));
      at_ = std::min(end + 2, in_.size());
      return;
    }
    if (++depth_ > 1) {
      if (next_is('^')) {
        throw UserError(file_,
                        cat("the regular expression \"", in_,
                            "\" has a negated class inside a class: not supported yet"),
                        "use a tokenizer whose patterns PCRE2 understands", Exit::bad_data);
      }
      return;
    }
    out_.push_back('[');
    if (next_is('^')) out_.push_back(in_[at_++]);
    // A ] right after [ or [^ is an ordinary character.
    if (next_is(']')) out_ += cat("\\", in_[at_++]);
  }

  // {1,3}+ repeats the interval in Oniguruma; in PCRE2 it would not give back.
  void interval() {
    const size_t close = in_.find('}', at_);
    const bool repeats = close != std::string_view::npos && close + 1 < in_.size() &&
                         in_[close + 1] == '+' && (next_is('0') || next_is('1')) &&
                         (in_[at_ + 1] == ',' || in_[at_ + 1] == '}');
    if (!repeats) return out_.push_back('{');
    out_.push_back(next_is('0') ? '*' : '+');
    at_ = close + 2;
  }

  bool next_is(char c) const { return at_ < in_.size() && in_[at_] == c; }

  std::string_view in_, file_;
  std::string out_;
  size_t at_ = 0;
  int depth_ = 0;  // inside how many [...]
};

std::string to_pcre(std::string_view expression, std::string_view file) {
  return Translator(expression, file).run();
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
  const std::string translated = to_pcre(expression, file);
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
