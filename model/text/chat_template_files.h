// Which chat templates a model's folder holds, and which of them is meant: the files, the names and
// the precedence of transformers.
#pragma once

#include <string>
#include <vector>

#include "model/text/chat_template.h"

namespace nibble {

// chat_template.jinja and additional_chat_templates/NAME.jinja; without any of them chat_template
// of tokenizer_config.json (a text, or a list of {name, template}), then of chat_template.json.
// Empty when the folder has none. Throws UserError (exit 65) when a file is damaged.
std::vector<NamedTemplate> read_chat_templates(const std::string& directory);

// The template called `name`, or null. Without a name: tool_use when tools are given and there is
// one, else default. Throws UserError (exit 65) when there are templates and none is the default.
const NamedTemplate* choose_template(const std::vector<NamedTemplate>& templates,
                                     const std::string& name, bool tools);

// A template of the user's choice: the name of one of the model's own, "chatml", the source itself
// (it holds a {{ or a {%), or a file. `where` names the setting. Throws UserError (exit 66).
NamedTemplate user_template(const std::string& choice, const std::vector<NamedTemplate>& own,
                            const std::string& where);

}  // namespace nibble
