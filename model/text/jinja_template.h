// Jinja for chat templates: the part of Jinja2 3.1 that transformers configures (sandbox,
// trim_blocks, lstrip_blocks, loop controls, generation marks), with Python's own rules for
// printing and arithmetic. Templates come with downloaded models and are not trusted: no files, no
// clock but strftime_now, and hard limits on work, output and nesting.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace nibble {

class JinjaTemplate {
 public:
  struct Limits {
    // Expressions, statements, elements copied, and every 32 bytes of text that is looked at. Long
    // conversations may take more, in proportion, up to three times this.
    int64_t steps = 2'000'000;
    int64_t output_bytes = 16 << 20;  // of the output and of any one string
    int depth = 64;                   // macros and recursive loops inside each other
    // Of strftime_now, in seconds since 1970 of a clock without zones. Without it NIBBLE_NOW
    // (2025-07-10T12:00:00) sets the clock, else it is the local time.
    std::optional<int64_t> clock = {};
  };

  // What came out, and where {% generation %} … {% endgeneration %} wrote it: byte ranges of text.
  struct Rendered {
    std::string text;
    std::vector<std::pair<size_t, size_t>> generation;
    bool has_generation = false;  // the template has such marks, whether or not they were reached
  };

  // Throws UserError(where = name:line, exit 65) on a syntax error, an unknown filter or test.
  static constexpr size_t kMaxSource = 512 << 10;  // bytes
  explicit JinjaTemplate(std::string_view source, std::string name = "chat_template");

  // `variables` is an object. Throws UserError(where = name:line, exit 65) on raise_exception (the
  // message as the template wrote it), on what Python would refuse, and past a limit. Any number of
  // threads may render one template at a time.
  std::string render(const Json& variables) const;
  std::string render(const Json& variables, const Limits& limits) const;
  Rendered render_spans(const Json& variables) const;
  Rendered render_spans(const Json& variables, const Limits& limits) const;

  bool has_generation() const;
  const std::string& name() const { return name_; }

 private:
  struct Program;
  std::string name_;
  std::shared_ptr<const Program> program_;
};

}  // namespace nibble
