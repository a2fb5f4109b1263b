#include "model/text/tokenizer_chat.h"

#include <nlohmann/json.hpp>

#include "model/text/chat_template_files.h"

namespace nibble {

Json template_variables(const Tokenizer& tokenizer) {
  const auto spelling = [&](std::optional<int32_t> id) {
    return id ? tokenizer.token_text(*id) : std::string();
  };
  Json out = {{"bos_token", spelling(tokenizer.bos())}, {"eos_token", spelling(tokenizer.eos())}};
  if (tokenizer.pad()) out["pad_token"] = spelling(tokenizer.pad());
  if (tokenizer.unk()) out["unk_token"] = spelling(tokenizer.unk());
  return out;
}

ChatTemplate chat_template_of(const Tokenizer& tokenizer, const std::string& directory,
                              const std::string& choice, const std::string& where) {
  const Json variables = template_variables(tokenizer);
  std::vector<NamedTemplate> own = read_chat_templates(directory);
  // A tokenizer that came from elsewhere (one file with everything) brings its template along.
  if (own.empty() && !tokenizer.chat_template().empty())
    own.push_back({"default", tokenizer.chat_template(), "chat_template"});
  if (!choice.empty()) return {user_template(choice, own, where), nullptr, variables};
  const NamedTemplate* plain = choose_template(own, "", false);
  if (plain == nullptr)
    return {{"chatml", default_chat_template(), "chat_template"}, nullptr, variables};
  return {*plain, choose_template(own, "tool_use", true), variables};
}

}  // namespace nibble
