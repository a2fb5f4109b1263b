// nibble template: what a chat template makes of messages, byte for byte as transformers'
// apply_chat_template prints it: nothing added, no newline at the end.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/model_flags.h"
#include "model/files/gguf_model.h"
#include "model/text/chat_template_files.h"
#include "model/text/tokenizer.h"
#include "model/text/tokenizer_chat.h"
#include "model/text/tokenizer_parts.h"

namespace nibble {
namespace {

struct Options {
  std::string source, messages, tools, vars, name;
  bool prompt = false, openai = false;
};

bool read_options(const std::vector<std::string>& arguments, Options& o) {
  CommandLine line("template", "show what a chat template makes of messages",
                   "MODEL_OR_JINJA_FILE --messages m.json [options]");
  line.positional("MODEL_OR_JINJA_FILE", o.source,
                  "a model's folder, a hub id found in the local cache, or a Jinja file");
  Settings& f = line.flags();
  f.field("messages", o.messages,
          "a JSON list of messages; or an object of messages, tools and other variables")
      .placeholder("FILE")
      .required();
  f.field("tools", o.tools, "a JSON list of tools").placeholder("FILE");
  f.field("vars", o.vars, "a JSON object of more variables (enable_thinking, bos_token, …)")
      .placeholder("FILE");
  f.field("add_generation_prompt", o.prompt, "end with what opens the assistant's turn");
  f.field("template", o.name, "one of a model's named templates: default, tool_use, rag, …")
      .placeholder("NAME");
  f.field("openai", o.openai,
          "take messages as serve and train do: tool arguments may be JSON text, parts of text "
          "are joined for a template that knows no parts");
  line.note(
      "Without --template a conversation with tools takes the template tool_use where a model has "
      "one, others take default. bos_token and eos_token are the model's; with a Jinja file they "
      "are empty unless --vars gives them. NIBBLE_NOW=2025-07-10T12:00:00 stops the clock of "
      "strftime_now.");
  line.example("nibble template model/ --messages m.json --add-generation-prompt");
  line.example("nibble template chat.jinja --messages m.json --tools t.json --vars v.json");
  return line.parse(arguments);
}

Json read_object(const std::string& path, const char* what) {
  Json json = read_json(path);
  if (!json.is_object())
    throw UserError(path, cat("is ", json.type_name(), ", not an object"), what, Exit::bad_data);
  return json;
}

// What the template sees besides the model's tokens, in the order of precedence.
Json variables_of(const Options& o) {
  Json values = read_json(o.messages);
  const char* shape = "write [{\"role\": …, \"content\": …}, …], or {\"messages\": […], …}";
  if (values.is_array()) {
    Json list = std::move(values);
    values = Json::object();
    values["messages"] = std::move(list);
  }
  if (!values.is_object() || !values.contains("messages") || !values["messages"].is_array())
    throw UserError(o.messages, "holds no list of messages", shape, Exit::bad_data);
  for (const Json& message : values["messages"])
    if (!message.is_object())
      throw UserError(o.messages, "a message is not an object", shape, Exit::bad_data);
  if (!o.tools.empty()) {
    Json tools = read_json(o.tools);
    if (!tools.is_array() && !tools.is_null())
      throw UserError(o.tools, "is not a list of tools", "write [{\"type\": \"function\", …}]",
                      Exit::bad_data);
    values["tools"] = std::move(tools);
  }
  if (!o.vars.empty()) values.update(read_object(o.vars, "write {\"enable_thinking\": true}"));
  if (o.prompt || !values.contains("add_generation_prompt"))
    values["add_generation_prompt"] = o.prompt;
  if (o.openai && !values["add_generation_prompt"].is_boolean())
    throw UserError(o.messages, "add_generation_prompt is not true or false", "", Exit::bad_data);
  return values;
}

// The model's tokens as its small files name them; without any, as its tokenizer knows them.
Json tokens_of(const std::string& directory) {
  const bool named = exists(join_path(directory, "tokenizer_config.json"));
  if (!named && Tokenizer::present(directory))
    return template_variables(*Tokenizer::load(directory));
  const text::TokenizerConfig config = text::read_tokenizer_config(directory);
  Json out = {{"bos_token", config.bos.value_or("")}, {"eos_token", config.eos.value_or("")}};
  if (config.pad) out["pad_token"] = *config.pad;
  if (config.unk) out["unk_token"] = *config.unk;
  return out;
}

NamedTemplate from_model(const Options& o, const std::string& directory, bool tools) {
  const std::vector<NamedTemplate> own = read_chat_templates(directory);
  if (const NamedTemplate* chosen = choose_template(own, o.name, tools)) return *chosen;
  if (!o.name.empty()) return user_template(o.name, own, "--template");
  log::warning(cat(directory, " has no chat template; this is ChatML, as serve would use it"));
  return user_template("chatml", own, "");
}

std::string render(const NamedTemplate& chosen, const Json& tokens, const Json& values,
                   bool openai) {
  Json all = tokens;
  all.update(values);
  if (!openai) return JinjaTemplate(chosen.source, chosen.where).render(all);
  const Json tools = all.value("tools", Json());
  return ChatTemplate(chosen, nullptr, all)
      .render(all["messages"], all["add_generation_prompt"].get<bool>(), tools, values);
}

// A GGUF file carries one template, and the tokens it names.
std::string from_gguf(const Options& o, const Json& values) {
  const auto tokenizer = Tokenizer::load(o.source);
  if (tokenizer->chat_template().empty())
    throw UserError(o.source, "holds no chat template", "name a .jinja file", Exit::missing_input);
  Json tokens = Json::object();
  const auto name = [&](const char* key, std::optional<int32_t> id) {
    if (id) tokens[key] = tokenizer->token_text(*id);
  };
  name("bos_token", tokenizer->bos());
  name("eos_token", tokenizer->eos());
  name("pad_token", tokenizer->pad());
  name("unk_token", tokenizer->unk());
  const NamedTemplate own{"own", tokenizer->chat_template(),
                          cat(o.source, ": key 'tokenizer.chat_template'")};
  return render(own, tokens, values, o.openai);
}

}  // namespace

int run_template(const std::vector<std::string>& arguments) {
  Options o;
  if (!read_options(arguments, o)) return 0;
  const Json values = variables_of(o);
  // What ends in .jinja is no hub id: a missing one is a missing file.
  const bool bare = ends_with(o.source, ".jinja") || (exists(o.source) && !is_directory(o.source));
  const bool tools = values.contains("tools") && !values["tools"].is_null();
  std::string text;
  if (exists(o.source) && !is_directory(o.source) && is_gguf(o.source)) {
    text = from_gguf(o, values);
  } else if (bare) {
    if (!o.name.empty())
      throw UserError("--template", cat("'", o.name, "' is asked of a file, which has no names"),
                      "name the model's folder, or leave it out");
    const NamedTemplate file{"own", read_file(o.source), o.source};
    text = render(file, {{"bos_token", ""}, {"eos_token", ""}}, values, o.openai);
  } else {
    ModelFlags model;
    model.model = o.source;
    const ModelFlags::Resolved resolved = model.resolve();
    const std::string directory = resolved.template_folder();
    text = render(from_model(o, directory, tools), tokens_of(resolved.directory), values, o.openai);
  }
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw UserError("standard output", cat("cannot be written: ", std::strerror(errno)), "",
                    Exit::io);
  return 0;
}

}  // namespace nibble
