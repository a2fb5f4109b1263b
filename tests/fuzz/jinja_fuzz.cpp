// Any bytes as a chat template: parsing and rendering end soon, within their limits, with a text or
// a UserError.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/errors.h"
#include "model/text/jinja_template.h"

namespace {

// One of everything that templates meet: turns, tool calls, parts, tools, awkward values.
const nibble::Json& variables() {
  static const nibble::Json values = nibble::Json::parse(R"({
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "n": -3, "f": 2.5,
    "none": null, "empty": [], "date": "10 Jul 2025",
    "messages": [
      {"role": "system", "content": " Be brief. "},
      {"role": "user", "content": [{"type": "text", "text": "Grüße, 世界"}, {"type": "image"}]},
      {"role": "assistant", "content": null, "reasoning_content": "a\nb", "tool_calls": [
        {"id": "1", "function": {"name": "f", "arguments": {"b": [1, 2.0, null], "a": "x"}}}]},
      {"role": "tool", "tool_call_id": "1", "content": "{\"t\": 31}"},
      {"role": "assistant", "content": "<think>x</think>4"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {
      "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}}]})");
  return values;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nibble::JinjaTemplate::Limits limits;
  limits.steps = 20000;
  limits.output_bytes = 1 << 16;
  limits.depth = 16;
  limits.clock = 0;
  try {
    const std::string_view source(reinterpret_cast<const char*>(data), size);
    nibble::JinjaTemplate(source, "fuzz").render_spans(variables(), limits);
  } catch (const nibble::UserError&) {
    return 0;  // refused by name
  }
  return 0;
}
