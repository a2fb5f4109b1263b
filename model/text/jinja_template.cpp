// The public face: parse once, render many times, turn a template's failures into UserErrors that
// name the line.
#include "model/text/jinja_template.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/text.h"
#include "model/text/jinja_interpreter.h"
#include "model/text/jinja_lexer.h"

namespace nibble {

struct JinjaTemplate::Program {
  std::string source;
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

// What a conversation adds to the limit of steps: each message is some values, and 64 bytes of text
// are one.
constexpr int64_t kStepsOfWeight = 40;

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

Where where_in(const std::string& name, std::string_view source, jinja::Place place) {
  for (int line = 1; line < place.line; ++line) {
    const size_t newline = source.find('\n');
    source.remove_prefix(newline == std::string_view::npos ? source.size() : newline + 1);
  }
  std::string_view text = source.substr(0, source.find('\n'));
  if (ends_with(text, "\r")) text.remove_suffix(1);
  return {name, place.line, place.column, std::string(text)};
}

}  // namespace

JinjaTemplate::JinjaTemplate(std::string_view source, std::string name) : name_(std::move(name)) {
  if (source.size() > kMaxSource) {
    throw UserError(
        Where{name_},
        cat("the template has ", source.size(), " bytes, at most ", kMaxSource, " are read"), "",
        Exit::bad_data);
  }
  if (!valid_utf8(source)) {
    throw UserError(Where{name_}, "the template is not valid UTF-8", "", Exit::bad_data);
  }
  auto program = std::make_shared<Program>();
  program->source = source;
  try {
    program->tree = jinja::parse_template(source);
  } catch (const jinja::SyntaxError& error) {
    throw UserError(where_in(name_, source, error.place), error.message, "", Exit::bad_data);
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
  runtime.max_bytes = limits.output_bytes;
  runtime.max_depth = limits.depth;
  runtime.strftime = [&](const std::string& format) { return format_time(format, limits.clock); };
  jinja::Place place;
  try {
    jinja::Interpreter interpreter(runtime, variables);
    const int64_t more = interpreter.weight_of_variables() * kStepsOfWeight;
    runtime.steps = runtime.max_steps = limits.steps + std::min(more, 2 * limits.steps);
    try {
      interpreter.run(program_->tree);
    } catch (const jinja::Failure&) {
      place = interpreter.place();
      throw;
    }
    return {std::move(interpreter.output()), interpreter.generation(), has_generation()};
  } catch (const jinja::Failure& failure) {
    throw UserError(where_in(name_, program_->source, place), failure.what(), "", Exit::bad_data);
  }
}

}  // namespace nibble
