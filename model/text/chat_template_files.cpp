#include "model/text/chat_template_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/text.h"

namespace nibble {
namespace {

constexpr std::string_view kSuffix = ".jinja";
const char* const kDefault = "default";
const char* const kTools = "tool_use";

[[noreturn]] void damaged(const std::string& path, std::string what) {
  throw UserError(path, std::move(what), "see the same file of a model that loads", Exit::bad_data);
}

std::vector<NamedTemplate> from_jinja_files(const std::string& directory) {
  std::vector<NamedTemplate> out;
  const std::string main = join_path(directory, "chat_template.jinja");
  if (exists(main)) out.push_back({kDefault, read_file(main), main});
  const std::string more = join_path(directory, "additional_chat_templates");
  if (!is_directory(more)) return out;
  for (const std::string& file : list_directory(more)) {
    if (!ends_with(file, kSuffix)) continue;
    const std::string path = join_path(more, file);
    out.push_back({file.substr(0, file.size() - kSuffix.size()), read_file(path), path});
  }
  return out;
}

std::vector<NamedTemplate> from_list(const Json& list, const std::string& path) {
  std::vector<NamedTemplate> out;
  for (const Json& entry : list) {
    const auto text = [&](const char* key) {
      if (!entry.is_object() || !entry.contains(key) || !entry[key].is_string())
        damaged(path, cat("an entry of chat_template has no \"", key, "\""));
      return entry[key].get<std::string>();
    };
    const std::string name = text("name");
    out.push_back({name, text("template"), cat(path, " (chat_template ", name, ")")});
  }
  return out;
}

std::vector<NamedTemplate> from_json_file(const std::string& path) {
  if (!exists(path)) return {};
  const Json config = read_json(path);
  if (!config.is_object()) damaged(path, "not a JSON object");
  const auto value = config.find("chat_template");
  if (value == config.end() || value->is_null()) return {};
  if (value->is_string())
    return {{kDefault, value->get<std::string>(), cat(path, " (chat_template)")}};
  if (!value->is_array()) damaged(path, "chat_template is neither a string nor a list");
  return from_list(*value, path);
}

std::string names_of(const std::vector<NamedTemplate>& templates) {
  std::vector<std::string> names;
  for (const NamedTemplate& t : templates) names.push_back(t.name);
  return join(names, ", ");
}

const NamedTemplate* find(const std::vector<NamedTemplate>& templates, std::string_view name) {
  const auto at = std::find_if(templates.begin(), templates.end(),
                               [&](const NamedTemplate& t) { return t.name == name; });
  return at == templates.end() ? nullptr : &*at;
}

}  // namespace

std::vector<NamedTemplate> read_chat_templates(const std::string& directory) {
  std::vector<NamedTemplate> out = from_jinja_files(directory);
  for (const char* file : {"tokenizer_config.json", "chat_template.json"}) {
    if (out.empty()) out = from_json_file(join_path(directory, file));
  }
  return out;
}

const NamedTemplate* choose_template(const std::vector<NamedTemplate>& templates,
                                     const std::string& name, bool tools) {
  if (!name.empty()) return find(templates, name);
  const NamedTemplate* for_tools = tools ? find(templates, kTools) : nullptr;
  const NamedTemplate* chosen = for_tools != nullptr ? for_tools : find(templates, kDefault);
  if (chosen == nullptr && !templates.empty()) {
    throw UserError(templates[0].where,
                    cat("the chat templates are called ", names_of(templates), ", none is default"),
                    "choose one by its name", Exit::bad_data);
  }
  return chosen;
}

NamedTemplate user_template(const std::string& choice, const std::vector<NamedTemplate>& own,
                            const std::string& where) {
  if (const NamedTemplate* named = find(own, choice)) return *named;
  if (choice == "chatml") return {choice, default_chat_template(), choice};
  if (choice.find("{{") != std::string::npos || choice.find("{%") != std::string::npos)
    return {"own", choice, where};
  if (exists(choice) && !is_directory(choice)) return {"own", read_file(choice), choice};
  const std::string known = own.empty() ? "chatml" : cat("chatml, ", names_of(own));
  throw UserError(where, cat("'", choice, "' is neither a template's name nor a file"),
                  cat("names are ", known, "; or give a path, or the Jinja text itself"),
                  Exit::missing_input);
}

}  // namespace nibble
