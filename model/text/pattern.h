// Regular expressions of tokenizer files. They are written for Oniguruma; PCRE2 runs them, with
// \s and \w given Oniguruma's meaning.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "model/text/scanner.h"

namespace nibble::text {

// What one thread needs while it matches: result vector, JIT stack, limits.
class MatchScratch {
 public:
  MatchScratch();
  ~MatchScratch();
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

class Pattern {
 public:
  // `file` is named when the expression is not understood (UserError, exit 65).
  static Pattern regex(std::string_view expression, std::string_view file);
  static Pattern literal(std::string text);

  struct Match {
    size_t begin = 0, end = 0;
    bool found = false;
  };
  // The first match at or after `from`. The text must be valid UTF-8.
  Match find(std::string_view text, size_t from, MatchScratch& scratch) const;
  // The scanner that matches as this expression does, wherever one piece ends; null for most.
  Cut cut() const { return cut_; }

 private:
  struct Code;
  std::shared_ptr<const Code> code_;  // null for a literal
  std::string literal_;
  Cut cut_ = nullptr;
};

}  // namespace nibble::text
