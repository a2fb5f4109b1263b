// From a body to a Generation: prompts, messages, and what each endpoint adds to the shared fields.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/text.h"
#include "serving/http/api_error.h"
#include "serving/http/openai_sampling.h"

namespace nibble::serving::http {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

Prompt text_prompt(const Json& value, const std::string& path, const Backend& backend,
                   bool special) {
  if (!value.is_string()) throw invalid(path, cat(path, " must be a string"));
  if (!backend.has_tokenizer())
    throw invalid(path, "this model has no tokenizer: give the prompt as token ids");
  Prompt prompt{value.get<std::string>(), {}};
  if (prompt.text.empty()) throw invalid(path, cat(path, " must not be empty"));
  prompt.ids = backend.encode(prompt.text, special);
  return prompt;
}

Prompt id_prompt(const Json& value, const std::string& path, const Backend& backend) {
  Prompt prompt;
  prompt.ids = id_list(value, path, backend.vocab(), kNoLimit);
  if (prompt.ids.empty()) throw invalid(path, cat(path, " must not be empty"));
  return prompt;
}

// string | [string] | [int] | [[int]]
std::vector<Prompt> read_prompts(Fields& fields, const Backend& backend, bool special) {
  const Json* value = fields.find("prompt");
  if (value == nullptr) throw invalid("prompt", "prompt is missing");
  if (value->is_string()) return {text_prompt(*value, "prompt", backend, special)};
  if (!value->is_array())
    throw invalid("prompt", "prompt must be a string, a list of strings or lists of token ids");
  if (value->empty()) throw invalid("prompt", "prompt must not be empty");
  if (value->front().is_number()) return {id_prompt(*value, "prompt", backend)};
  if (value->size() > static_cast<size_t>(Limits::kPrompts))
    throw invalid("prompt", cat("prompt may hold at most ", Limits::kPrompts, " prompts"));
  std::vector<Prompt> prompts;
  for (const Json& item : *value) {
    const std::string path = cat("prompt[", prompts.size(), "]");
    if (item.is_array() != value->front().is_array() || !(item.is_string() || item.is_array()))
      throw invalid(path, cat(path, " must be like the others: all strings or all lists of ids"));
    prompts.push_back(item.is_array() ? id_prompt(item, path, backend)
                                      : text_prompt(item, path, backend, special));
  }
  return prompts;
}

void read_part(const Json& part, const std::string& path) {
  Fields fields(part, path);
  const std::optional<std::string> type = fields.text("type");
  if (!type) throw invalid(path + ".type", cat(path, ".type is missing"));
  if (*type != "text") throw not_yet(path + ".type", "content parts other than text are");
  if (!fields.text("text")) throw invalid(path + ".text", cat(path, ".text is missing"));
}

void check_message(const Json& message, const std::string& path) {
  Fields fields(message, path);
  const std::optional<std::string> role = fields.text("role");
  if (!role) throw invalid(path + ".role", cat(path, ".role is missing"));
  const std::vector<std::string> roles{"system", "developer", "user", "assistant", "tool"};
  if (std::find(roles.begin(), roles.end(), *role) == roles.end())
    throw invalid(path + ".role",
                  cat(path, ".role must be system, developer, user, assistant or tool"));
  for (const char* calls : {"tool_calls", "function_call"}) {
    const Json* value = fields.find(calls);
    if (value != nullptr && !value->empty()) throw not_yet(cat(path, ".", calls), "tools are");
  }
  const Json* content = fields.find("content");
  if (content == nullptr) throw invalid(path + ".content", cat(path, ".content is missing"));
  if (content->is_string()) return;
  if (!content->is_array())
    throw invalid(path + ".content", cat(path, ".content must be a string or a list of parts"));
  size_t i = 0;
  for (const Json& part : *content) read_part(part, cat(path, ".content[", i++, "]"));
}

const Json& read_messages(Fields& fields) {
  const Json* messages = fields.find("messages");
  if (messages == nullptr) throw invalid("messages", "messages is missing");
  if (!messages->is_array()) throw invalid("messages", "messages must be a list");
  if (messages->empty()) throw invalid("messages", "messages must not be empty");
  if (messages->size() > static_cast<size_t>(Limits::kMessages))
    throw invalid("messages", cat("messages may hold at most ", Limits::kMessages, " messages"));
  size_t i = 0;
  for (const Json& message : *messages) check_message(message, cat("messages[", i++, "]"));
  return *messages;
}

void refuse_tools(Fields& fields) {
  const Json* tools = fields.find("tools");
  const Json* choice = fields.find("tool_choice");
  fields.boolean("parallel_tool_calls");
  if (tools != nullptr) {
    if (!tools->is_array()) throw invalid("tools", "tools must be a list");
    if (tools->empty()) throw invalid("tools", "tools must not be empty; leave it out instead");
    throw not_yet("tools", "tools are");
  }
  if (choice != nullptr && *choice != Json("none"))
    throw invalid("tool_choice", "tool_choice needs tools");
}

// The final message goes on where it ends: what the template writes after it is cut off.
std::string cut_after_final(std::string text, const Json& messages) {
  const Json& content = messages.back()["content"];
  const std::string where = cat("messages[", messages.size() - 1, "].content");
  if (!content.is_string()) throw invalid(where, cat(where, " must be a string to be continued"));
  const std::string whole = content.get<std::string>();
  const std::string_view said = trim(whole);
  const size_t at = said.empty() ? std::string::npos : text.rfind(said);
  if (at == std::string::npos)
    throw invalid("continue_final_message",
                  "the chat template changes the final message: it cannot be continued");
  // Templates that trim lose the last spaces of the message; those that do not keep them.
  const size_t tail =
      whole.size() - (static_cast<size_t>(said.data() - whole.data()) + said.size());
  size_t end = at + said.size();
  if (text.compare(end, tail, whole, whole.size() - tail, tail) == 0) end += tail;
  text.resize(end);
  return text;
}

// chat_template_kwargs: what a client may tell the template (enable_thinking, …). What the request
// says elsewhere, what belongs to the model, and the template itself are not among it.
Json template_variables(Fields& fields) {
  const std::string name = "chat_template_kwargs";
  const Json* given = fields.find(name);
  if (given == nullptr) return Json::object();
  if (!given->is_object()) throw invalid(name, cat(name, " must be an object"));
  for (const char* taken :
       {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message",
        "chat_template", "tokenize", "bos_token", "eos_token", "pad_token", "unk_token"})
    if (given->contains(taken))
      throw invalid(cat(name, ".", taken), cat(name, " must not hold ", taken));
  return *given;
}

Prompt chat_prompt(Fields& fields, const Backend& backend) {
  const Json& messages = read_messages(fields);
  if (fields.find("chat_template") != nullptr)
    throw invalid("chat_template", "a chat template is not taken from a request");
  const Json variables = template_variables(fields);
  const bool go_on = fields.boolean("continue_final_message").value_or(false);
  const bool generate = fields.boolean("add_generation_prompt").value_or(!go_on);
  if (go_on && generate)
    throw invalid("continue_final_message",
                  "continue_final_message and add_generation_prompt cannot both be true");
  // The template writes BOS itself: the tokenizer must not add a second one.
  const bool special = fields.boolean("add_special_tokens").value_or(false);
  if (!backend.has_tokenizer())
    throw invalid("messages", "this model has no tokenizer: use /v1/completions with token ids");
  Prompt prompt;
  try {
    prompt.text = backend.render_chat(messages, generate, variables);
  } catch (const UserError& e) {
    throw invalid("messages", cat("the chat template refuses these messages: ", e.message()));
  }
  if (go_on) prompt.text = cut_after_final(std::move(prompt.text), messages);
  prompt.ids = backend.encode(prompt.text, special);
  return prompt;
}

void finish(Fields& fields, Generation& out) {
  for (std::string& name : fields.unread()) out.unknown.insert(std::move(name));
}

}  // namespace

Generation read_completion(const std::string& body, const Backend& backend) {
  const Json json = parse_body(body);
  Fields fields(json, "");
  Generation out;
  out.model = find_model(fields, backend);
  read_streaming(fields, out);
  read_sampling(fields, backend, out);
  refuse_unsupported(fields, false);
  out.echo = fields.boolean("echo").value_or(false);
  out.max_tokens = fields.integer("max_tokens", out.echo ? 0 : 1, kMax);
  const auto logprobs = fields.integer("logprobs", 0, Limits::kLogprobs);
  if (logprobs) out.sampling.logprobs = static_cast<int>(*logprobs);
  out.sampling.prompt_logprobs = out.echo && logprobs;
  const bool special = fields.boolean("add_special_tokens").value_or(true);
  out.prompts = read_prompts(fields, backend, special);
  if (static_cast<int64_t>(out.prompts.size()) * out.n > Limits::kRequests)
    throw invalid("n", cat("n times the number of prompts may be at most ", Limits::kRequests));
  check_lengths(out, backend, "prompt", "max_tokens");
  if (out.echo && backend.has_tokenizer())
    for (Prompt& prompt : out.prompts)
      if (prompt.text.empty()) prompt.text = backend.decode(prompt.ids);
  finish(fields, out);
  return out;
}

Generation read_chat_completion(const std::string& body, const Backend& backend) {
  const Json json = parse_body(body);
  Fields fields(json, "");
  Generation out;
  out.chat = true;
  out.model = find_model(fields, backend);
  read_streaming(fields, out);
  read_sampling(fields, backend, out);
  refuse_tools(fields);
  refuse_unsupported(fields, true);
  const auto older = fields.integer("max_tokens", 1, kMax);
  const auto newer = fields.integer("max_completion_tokens", 1, kMax);
  out.max_tokens = newer ? newer : older;
  const bool logprobs = fields.boolean("logprobs").value_or(false);
  const int64_t top = fields.integer("top_logprobs", 0, Limits::kLogprobs).value_or(0);
  if (top > 0 && !logprobs) throw invalid("top_logprobs", "top_logprobs needs logprobs: true");
  if (logprobs) out.sampling.logprobs = static_cast<int>(top);
  out.prompts = {chat_prompt(fields, backend)};
  backend.add_chat_stops(out.sampling);
  check_lengths(out, backend, "messages", newer ? "max_completion_tokens" : "max_tokens");
  finish(fields, out);
  return out;
}

}  // namespace nibble::serving::http
