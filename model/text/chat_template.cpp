// What lies between an API's messages and a template: variables, content parts, tool arguments, and
// the places of the assistant's words.
#include "model/text/chat_template.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/errors.h"
#include "base/text.h"

namespace nibble {

struct ChatTemplate::State {
  JinjaTemplate jinja;
  std::optional<JinjaTemplate> with_tools;  // where conversations with tools have one of their own
  std::string name, source, eos;
  Json variables;  // bos_token, eos_token, …
  bool takes_parts = false;

  JinjaTemplate::Rendered render(const Json& messages, bool prompt, const Json& tools,
                                 const Json& extra) const;
  std::pair<size_t, size_t> reply(const Json& messages, size_t at, const Json& tools,
                                  const std::string& full) const;
  std::string closed(const Json& messages, size_t at, const Json& tools) const;
  size_t end_of_reply(const std::string& upto, size_t begin, const std::string& content) const;
  bool probe_parts() const;
};

namespace {

[[noreturn]] void refuse(std::string what, std::string hint) {
  throw UserError("messages", std::move(what), std::move(hint), Exit::bad_data);
}

void check_messages(const Json& messages) {
  if (!messages.is_array())
    refuse("messages must be a list", "write [{\"role\": …, \"content\": …}]");
  for (const Json& message : messages) {
    if (!message.is_object()) refuse("a message must be an object with role and content", "");
  }
}

bool all_text(const Json& parts) {
  return std::all_of(parts.begin(), parts.end(), [](const Json& part) {
    return part.is_object() && part.value("type", Json("text")) == "text" &&
           part.contains("text") && part["text"].is_string();
  });
}

// Parts of text become one string; anything else (an image) stays, for the template to refuse.
void join_parts(Json& message) {
  const auto content = message.find("content");
  if (content == message.end() || !content->is_array() || !all_text(*content)) return;
  std::string text;
  for (const Json& part : *content) text += part["text"].get_ref<const std::string&>();
  *content = text;
}

// OpenAI sends arguments as JSON text, templates print them with tojson: text would be quoted
// twice.
bool parse_arguments(Json& message) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || !calls->is_array()) return false;
  bool any = false;
  for (Json& call : *calls) {
    Json* holder = call.is_object() && call.contains("function") ? &call["function"] : &call;
    if (!holder->is_object() || !holder->contains("arguments")) continue;
    Json& arguments = (*holder)["arguments"];
    if (!arguments.is_string()) continue;
    try {
      Json parsed = parse_json(arguments.get_ref<const std::string&>(), "arguments");
      if (!parsed.is_object()) continue;
      arguments = std::move(parsed);
      any = true;
    } catch (const UserError&) {
      continue;  // not JSON: the template gets the text
    }
  }
  return any;
}

// What the assistant thought has three names; templates read the first or the second.
void name_reasoning(Json& message) {
  constexpr std::array<const char*, 3> kNames = {"reasoning_content", "thinking", "reasoning"};
  for (const char* name : kNames) {
    const auto found = message.find(name);
    if (found == message.end() || found->is_null()) continue;
    const Json reasoning = *found;
    if (!message.contains("thinking")) message["thinking"] = reasoning;
    message["reasoning_content"] = reasoning;
    return;
  }
}

Json with_ends(const Json& special, std::string bos, std::string eos) {
  Json variables = special.is_object() ? special : Json::object();
  variables["bos_token"] = std::move(bos);
  variables["eos_token"] = std::move(eos);
  return variables;
}

size_t common_prefix(std::string_view a, std::string_view b) {
  const auto ends = std::mismatch(a.begin(), a.begin() + std::min(a.size(), b.size()), b.begin());
  return static_cast<size_t>(ends.first - a.begin());
}

std::string content_text(const Json& message) {
  Json copy = message;
  join_parts(copy);
  const auto content = copy.find("content");
  return content != copy.end() && content->is_string() ? content->get<std::string>() : "";
}

// The first `count` messages.
Json head(const Json& messages, size_t count) {
  return Json(
      Json::array_t(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(count)));
}

}  // namespace

// A template that knows parts prints the text inside them; one that does not fails, or prints the
// list as Python would, or nothing.
bool ChatTemplate::State::probe_parts() const {
  constexpr std::string_view kProbe = "a text to look for";
  Json values = variables;
  const Json part = {{"type", "text"}, {"text", kProbe}};
  values["messages"] = Json::array({Json{{"role", "user"}, {"content", Json::array({part})}}});
  values["add_generation_prompt"] = true;
  try {
    const std::string text = jinja.render(values);
    return text.find(kProbe) != std::string::npos && text.find("'type'") == std::string::npos &&
           text.find("\"type\"") == std::string::npos;
  } catch (const UserError&) {
    return false;
  }
}

JinjaTemplate::Rendered ChatTemplate::State::render(const Json& messages, bool prompt,
                                                    const Json& tools, const Json& extra) const {
  check_messages(messages);
  Json values = variables;
  values["messages"] = messages;
  values["add_generation_prompt"] = prompt;
  const bool any_tools = !tools.is_null() && !tools.empty();
  if (any_tools) values["tools"] = tools;
  const JinjaTemplate& chosen = any_tools && with_tools ? *with_tools : jinja;
  if (extra.is_object()) {
    for (const auto& [name, value] : extra.items()) values[name] = value;
  }
  bool parsed = false;
  for (Json& message : values["messages"]) name_reasoning(message);
  const Json as_given = values["messages"];
  for (Json& message : values["messages"]) {
    if (!takes_parts) join_parts(message);
    parsed = parse_arguments(message) || parsed;
  }
  if (!parsed) return chosen.render_spans(values);
  try {
    return chosen.render_spans(values);
  } catch (const UserError&) {
    // A few templates join arguments as text.
    values["messages"] = as_given;
    for (Json& message : values["messages"]) {
      if (!takes_parts) join_parts(message);
    }
    return chosen.render_spans(values);
  }
}

// The conversation up to and with message `at`, without what the template writes only when nothing
// follows: Phi-3 ends a finished conversation with eos, and a running one without.
std::string ChatTemplate::State::closed(const Json& messages, size_t at, const Json& tools) const {
  std::string text = render(head(messages, at + 1), false, tools, Json()).text;
  if (eos.empty() || !ends_with(text, eos)) return text;
  try {
    const std::string running = render(head(messages, at + 1), true, tools, Json()).text;
    const std::string shorter = text.substr(0, text.size() - eos.size());
    return !starts_with(running, text) && starts_with(running, shorter) ? shorter : text;
  } catch (const UserError&) {
    return text;  // some templates refuse to go on after the assistant
  }
}

std::pair<size_t, size_t> ChatTemplate::State::reply(const Json& messages, size_t at,
                                                     const Json& tools,
                                                     const std::string& full) const {
  const std::string upto = closed(messages, at, tools);
  const std::string asked = render(head(messages, at), true, tools, Json()).text;
  const std::string content(trim(content_text(messages[at])));
  size_t begin = common_prefix(asked, upto);
  bool placed = starts_with(full, upto);
  if (placed && begin < asked.size()) {
    // The prompt opens what this reply does not have (<think>): then the reply begins where the two
    // part, but never inside its own content.
    const std::string before = render(head(messages, at), false, tools, Json()).text;
    placed = starts_with(upto, before);
    const size_t said = content.empty() || !placed ? upto.npos : upto.find(content, before.size());
    begin = std::min(std::max(begin, before.size()), said);
  }
  if (!placed) {
    refuse(cat("message ", at + 1,
               ": other turns change how this chat template writes the reply, so it cannot be "
               "masked by position"),
           "train on single-turn rows, or use a template with {% generation %} marks");
  }
  return {begin, end_of_reply(upto, begin, content)};
}

// White space after the end-of-turn token belongs to the layout; without such a token, to the
// reply.
size_t ChatTemplate::State::end_of_reply(const std::string& upto, size_t begin,
                                         const std::string& content) const {
  size_t end = upto.find_last_not_of(" \t\r\n");
  end = end == std::string::npos ? begin : std::max(begin, end + 1);
  const size_t last = eos.empty() ? std::string::npos : upto.rfind(eos);
  if (last != std::string::npos && last >= begin && last + eos.size() >= end)
    return last + eos.size();
  const bool bare = !content.empty() && ends_with(std::string_view(upto).substr(0, end), content);
  return bare ? upto.size() : end;
}

ChatTemplate::ChatTemplate(std::string source, std::string bos_token, std::string eos_token)
    : ChatTemplate(std::move(source), std::move(bos_token), std::move(eos_token), Json::object()) {}

ChatTemplate::ChatTemplate(std::string source, std::string bos_token, std::string eos_token,
                           const Json& special)
    : ChatTemplate({"default", std::move(source), "chat_template"}, nullptr,
                   with_ends(special, std::move(bos_token), std::move(eos_token))) {}

ChatTemplate::ChatTemplate(const NamedTemplate& plain, const NamedTemplate* tools,
                           const Json& variables) {
  auto state = std::make_shared<State>(State{JinjaTemplate(plain.source, plain.where),
                                             {},
                                             plain.name,
                                             plain.source,
                                             variables.value("eos_token", std::string()),
                                             variables,
                                             false});
  if (tools != nullptr) state->with_tools.emplace(tools->source, tools->where);
  state->takes_parts = state->probe_parts();
  state_ = std::move(state);
}

std::string ChatTemplate::render(const Json& messages, bool add_generation_prompt) const {
  return render(messages, add_generation_prompt, Json(), Json());
}

std::string ChatTemplate::render(const Json& messages, bool add_generation_prompt,
                                 const Json& tools) const {
  return render(messages, add_generation_prompt, tools, Json());
}

std::string ChatTemplate::render(const Json& messages, bool add_generation_prompt,
                                 const Json& tools, const Json& extra) const {
  return state_->render(messages, add_generation_prompt, tools, extra).text;
}

JinjaTemplate::Rendered ChatTemplate::render_with_spans(const Json& messages) const {
  return render_with_spans(messages, Json());
}

JinjaTemplate::Rendered ChatTemplate::render_with_spans(const Json& messages,
                                                        const Json& tools) const {
  return state_->render(messages, false, tools, Json());
}

ChatTemplate::Spans ChatTemplate::assistant_spans(const Json& messages) const {
  return assistant_spans(messages, Json());
}

ChatTemplate::Spans ChatTemplate::assistant_spans(const Json& messages, const Json& tools) const {
  const JinjaTemplate::Rendered full = render_with_spans(messages, tools);
  if (full.has_generation) return full.generation;
  Spans spans;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].value("role", Json()) != "assistant") continue;
    spans.push_back(state_->reply(messages, i, tools, full.text));
  }
  return spans;
}

bool ChatTemplate::has_generation() const { return state_->jinja.has_generation(); }

bool ChatTemplate::takes_parts() const { return state_->takes_parts; }

const std::string& ChatTemplate::name() const { return state_->name; }

const std::string& ChatTemplate::source() const { return state_->source; }

std::string default_chat_template() {
  return "{%- for message in messages -%}\n"
         "{{- '<|im_start|>' + message['role'] + '\\n' + (message['content'] or '') + "
         "'<|im_end|>\\n' -}}\n"
         "{%- endfor -%}\n"
         "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}\n";
}

}  // namespace nibble
