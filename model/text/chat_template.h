// From messages to the text a model was trained on. Training and serving share this one renderer,
// so what a model learns is what it is asked. The template writes BOS itself: its text is tokenized
// with add_special_tokens = false, never with a second BOS.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "model/text/jinja_template.h"

namespace nibble {

struct NamedTemplate {
  std::string name;    // default, tool_use, rag, …
  std::string source;  // Jinja
  std::string where;   // the file it was read from, for messages
};

class ChatTemplate {
 public:
  using Spans = std::vector<std::pair<size_t, size_t>>;  // byte ranges [begin, end) of the text

  // `special` holds further names for the template (pad_token, unk_token, …). Throws UserError as
  // JinjaTemplate does.
  ChatTemplate(std::string source, std::string bos_token, std::string eos_token);
  ChatTemplate(std::string source, std::string bos_token, std::string eos_token,
               const Json& special);
  // `tools` is the template of conversations with tools, null when it is the same one; `variables`
  // is an object that holds bos_token and eos_token.
  ChatTemplate(const NamedTemplate& plain, const NamedTemplate* tools, const Json& variables);

  // messages: [{"role": …, "content": …}, …], as OpenAI writes them. Content given as parts reaches
  // the template as it is, when the template knows parts; else text parts are joined. Arguments of
  // tool calls that are JSON text become objects, which is what templates expect. What the
  // assistant thought may be called reasoning_content, thinking or reasoning. tools that are null
  // or empty stay undefined. `extra` is an object of more variables (enable_thinking, …).
  // Throws UserError (exit 65): the template's own raise_exception, or what it cannot render.
  std::string render(const Json& messages, bool add_generation_prompt) const;
  std::string render(const Json& messages, bool add_generation_prompt, const Json& tools) const;
  std::string render(const Json& messages, bool add_generation_prompt, const Json& tools,
                     const Json& extra) const;

  // The whole conversation without a prompt for a next turn, with the spans that the template
  // marks.
  JinjaTemplate::Rendered render_with_spans(const Json& messages) const;
  JinjaTemplate::Rendered render_with_spans(const Json& messages, const Json& tools) const;

  // Where render(messages, false) holds what the assistant said. A template with marks alone
  // decides, even when a conversation reaches none of them; for one without, prefixes of the
  // conversation are rendered and compared, and a reply takes the end-of-turn token after it along.
  // Throws UserError when a later turn changes how an earlier one is written: such a conversation
  // cannot be masked by position.
  Spans assistant_spans(const Json& messages) const;
  Spans assistant_spans(const Json& messages, const Json& tools) const;

  bool has_generation() const;        // the template marks replies with {% generation %}
  bool takes_parts() const;           // content may be a list of parts
  const std::string& name() const;    // of the template: default, chatml, …
  const std::string& source() const;  // its Jinja

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

// ChatML, for a model that has no template of its own.
std::string default_chat_template();

}  // namespace nibble
