// The public face: parse once, render many times, turn a template's failures into UserErrors that
// name the line.
#include "model/text/jinja_template.h"

#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/text.h"
#include "model/text/jinja_interpreter.h"
#include "model/text/jinja_lexer.h"

namespace nibble {

struct JinjaTemplate::Program {
  jinja::Template tree;
};

namespace {

// NIBBLE_NOW stops the clock, so that what was rendered can be rendered again.
std::optional<int64_t> clock_of_environment() {
  const char* text = std::getenv("NIBBLE_NOW");
  if (text == nullptr || *text == '\0') return std::nullopt;
  std::tm parts{};
  const char* end = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
  if (end == nullptr || *end != '\0') {
    throw UserError("NIBBLE_NOW", cat("'", text, "' is not a time"),
                    "write it as 2025-07-10T12:00:00");
  }
  return static_cast<int64_t>(timegm(&parts));
}

// datetime.now().strftime(format). %f has no twin in C: always six zeros, seconds are what we have.
std::string format_time(const std::string& format, std::optional<int64_t> clock) {
  if (!clock) clock = clock_of_environment();
  const std::time_t now = clock ? static_cast<std::time_t>(*clock) : std::time(nullptr);
  std::tm parts{};
  if (clock) {
    gmtime_r(&now, &parts);
  } else {
    localtime_r(&now, &parts);
  }
  if (format.empty()) return "";
  if (format.size() > 1000) throw jinja::Failure("strftime_now: the format is too long");
  std::string escaped;
  for (size_t i = 0; i < format.size(); ++i) {
    const bool directive = format[i] == '%' && i + 1 < format.size();
    if (directive && format[i + 1] == 'f') {
      escaped += "000000";
      ++i;
    } else if (directive && (format[i + 1] == 'z' || format[i + 1] == 'Z')) {
      ++i;  // datetime.now() knows no zone
    } else {
      escaped += format[i];
      if (directive) escaped += format[++i];
    }
  }
  std::string out(escaped.size() * 64 + 64, '\0');
  out.resize(std::strftime(out.data(), out.size(), escaped.c_str(), &parts));
  return out;
}

}  // namespace

JinjaTemplate::JinjaTemplate(std::string_view source, std::string name) : name_(std::move(name)) {
  if (!valid_utf8(source)) {
    throw UserError(Where{name_}, "the template is not valid UTF-8", "", Exit::bad_data);
  }
  auto program = std::make_shared<Program>();
  try {
    program->tree = jinja::parse_template(source);
  } catch (const jinja::SyntaxError& error) {
    throw UserError(Where{name_, error.line}, error.message, "mend the chat template",
                    Exit::bad_data);
  }
  program_ = std::move(program);
}

bool JinjaTemplate::has_generation() const { return program_->tree.has_generation; }

std::string JinjaTemplate::render(const Json& variables) const {
  return render(variables, Limits());
}

std::string JinjaTemplate::render(const Json& variables, const Limits& limits) const {
  return render_spans(variables, limits).text;
}

JinjaTemplate::Rendered JinjaTemplate::render_spans(const Json& variables) const {
  return render_spans(variables, Limits());
}

JinjaTemplate::Rendered JinjaTemplate::render_spans(const Json& variables,
                                                    const Limits& limits) const {
  jinja::Runtime runtime;
  runtime.steps = limits.steps;
  runtime.max_bytes = limits.output_bytes;
  runtime.max_depth = limits.depth;
  runtime.strftime = [&](const std::string& format) { return format_time(format, limits.clock); };
  int line = 0;
  try {
    jinja::Interpreter interpreter(runtime, variables);
    try {
      interpreter.run(program_->tree);
    } catch (const jinja::Failure&) {
      line = interpreter.line();
      throw;
    }
    return {std::move(interpreter.output()), interpreter.generation(), has_generation()};
  } catch (const jinja::Failure& failure) {
    throw UserError(Where{name_, line}, failure.what(), "", Exit::bad_data);
  }
}

}  // namespace nibble
