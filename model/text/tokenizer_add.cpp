// The ids first, by the tokenizer itself; the files then say what it says.
#include "model/text/tokenizer_add.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "model/text/tokenizer_parts.h"

namespace nibble {

namespace {

const char* const kJson = "tokenizer.json";
const char* const kConfig = "tokenizer_config.json";
const char* const kMap = "special_tokens_map.json";
const char* const kAdded = "added_tokens.json";

// Files of a tokenizer that no change reaches.
const char* const kCopied[] = {"tokenizer.model", "vocab.json",          "merges.txt",
                               "vocab.txt",       "chat_template.jinja", "chat_template.json"};

std::optional<int32_t>* role_of(text::TokenizerParts& parts, const std::string& name) {
  if (name == "bos_token") return &parts.bos;
  if (name == "eos_token") return &parts.eos;
  if (name == "pad_token") return &parts.pad;
  if (name == "unk_token") return &parts.unk;
  return nullptr;
}

void check_role(const std::string& name) {
  const std::vector<std::string> names = {"bos_token", "eos_token", "pad_token", "unk_token",
                                          "cls_token", "sep_token", "mask_token"};
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  const std::string near = nearest(name, names);
  throw UserError("special_tokens", cat("no part of a tokenizer is called \"", name, "\""),
                  near.empty() ? join(names, ", ") : cat("did you mean ", near, "?"));
}

// Tokens of the list, then those that a role needs.
std::vector<NewToken> all_tokens(const TokenizerChange& change) {
  std::vector<NewToken> tokens = change.tokens;
  for (const auto& [role, content] : change.roles) {
    check_role(role);
    NewToken token;
    token.content = content;
    token.special = true;
    token.normalized = false;
    tokens.push_back(std::move(token));
  }
  for (const NewToken& token : tokens) {
    if (token.content.empty()) {
      throw UserError("tokens", "a token to add is empty", "leave it away, or give its spelling");
    }
    if (!valid_utf8(token.content))
      throw UserError("tokens", "a token to add is not UTF-8", "tokens are text");
  }
  return tokens;
}

Json entry_of(const text::AddedToken& token) {
  return {{"content", token.content},         {"lstrip", token.lstrip},
          {"normalized", token.normalized},   {"rstrip", token.rstrip},
          {"single_word", token.single_word}, {"special", token.special}};
}

// What the changed tokenizer holds of the tokens that were named, by id.
using Changed = std::map<int32_t, text::AddedToken>;

void change_json(const std::string& source, const Changed& tokens, const std::string& folder) {
  Json file = read_json(join_path(source, kJson));
  std::map<int32_t, Json> all;
  if (file.contains("added_tokens") && file["added_tokens"].is_array()) {
    for (const Json& old : file["added_tokens"]) all[old.value("id", -1)] = old;
  }
  for (const auto& [id, token] : tokens) {
    Json entry = {{"id", id}};
    const Json properties = entry_of(token);
    for (const char* key :
         {"content", "single_word", "lstrip", "rstrip", "normalized", "special"}) {
      entry[key] = properties[key];
    }
    all[id] = std::move(entry);
  }
  Json list = Json::array();
  for (auto& [id, entry] : all) list.push_back(std::move(entry));
  file["added_tokens"] = std::move(list);
  write_file(join_path(folder, kJson), dump_json(file, 2));
}

// Special tokens without a part of their own are listed.
void list_special(Json& file, const Changed& tokens, const TokenizerChange& change) {
  const char* key = file.contains("extra_special_tokens") && file["extra_special_tokens"].is_array()
                        ? "extra_special_tokens"
                        : "additional_special_tokens";
  Json list = file.contains(key) && file[key].is_array() ? Json(file[key]) : Json::array();
  for (const auto& [id, token] : tokens) {
    const bool part = std::any_of(change.roles.begin(), change.roles.end(),
                                  [&](const auto& role) { return role.second == token.content; });
    const bool listed = std::any_of(list.begin(), list.end(), [&](const Json& old) {
      return old == token.content || (old.is_object() && old.value("content", "") == token.content);
    });
    if (token.special && !part && !listed) list.push_back(token.content);
  }
  if (!list.empty()) file[key] = std::move(list);
}

// `known`: every added token there is. Readers take the list for complete.
void change_config(const std::string& source, const Changed& known, const Changed& tokens,
                   const TokenizerChange& change, const std::string& folder) {
  const std::string path = join_path(source, kConfig);
  Json config = exists(path) ? read_json(path) : Json::object();
  std::map<int32_t, Json> all;
  if (config.contains("added_tokens_decoder")) {
    for (const auto& [id, entry] : config["added_tokens_decoder"].items()) {
      all[std::atoi(id.c_str())] = entry;
    }
  }
  for (const auto& [id, token] : known) {
    if (all.count(id) == 0 || tokens.count(id) != 0) all[id] = entry_of(token);
  }
  Json decoder = Json::object();
  for (auto& [id, entry] : all) decoder[std::to_string(id)] = std::move(entry);
  config["added_tokens_decoder"] = std::move(decoder);
  list_special(config, tokens, change);
  for (const auto& [role, content] : change.roles) config[role] = content;
  write_file(join_path(folder, kConfig), dump_json(config, 2) + "\n");
}

void change_map(const std::string& source, const Changed& tokens, const TokenizerChange& change,
                const std::string& folder) {
  const std::string path = join_path(source, kMap);
  if (!exists(path)) return;
  Json map = read_json(path);
  list_special(map, tokens, change);
  for (const auto& [role, content] : change.roles) map[role] = content;
  write_file(join_path(folder, kMap), dump_json(map, 2) + "\n");
}

// Tokenizers without a tokenizer.json keep the ids of added tokens here.
void change_added(const std::string& source, const Changed& tokens, const std::string& folder,
                  bool has_json) {
  const std::string path = join_path(source, kAdded);
  if (has_json && !exists(path)) return;
  Json added = exists(path) ? read_json(path) : Json::object();
  for (const auto& [id, token] : tokens) added[token.content] = id;
  write_file(join_path(folder, kAdded), dump_json(added, 2) + "\n");
}

}  // namespace

int32_t change_tokenizer(Tokenizer& tokenizer, const TokenizerChange& change) {
  text::TokenizerParts& parts = *tokenizer.parts_;
  int32_t made = 0;
  const std::vector<NewToken> tokens = all_tokens(change);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const NewToken& wanted = tokens[i];
    const auto known = parts.id_of(wanted.content);
    text::AddedToken token;
    if (const text::AddedToken* old = parts.added.find(wanted.content)) {
      token = *old;
      if (i >= change.tokens.size() && token.special) continue;  // a part it takes changes nothing
    }
    if (!known) ++made;
    token.id = known ? *known : parts.size();
    token.content = wanted.content;
    token.special = token.special || wanted.special;
    token.lstrip = wanted.lstrip;
    token.rstrip = wanted.rstrip;
    token.single_word = wanted.single_word;
    token.normalized = wanted.normalized.value_or(!wanted.special);
    token.in_text = true;
    parts.added.set(std::move(token));
  }
  for (const auto& [name, content] : change.roles) {
    if (auto* role = role_of(parts, name)) *role = parts.id_of(content);
  }
  parts.find_added();
  return made;
}

void write_changed_tokenizer(const std::string& source, const TokenizerChange& change,
                             const std::string& folder) {
  const auto tokenizer = Tokenizer::load(source);
  change_tokenizer(*tokenizer, change);
  Changed known, tokens;
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    if (const text::AddedToken* token = tokenizer->added_token(id)) known[id] = *token;
  }
  for (const NewToken& token : all_tokens(change)) {
    const int32_t id = *tokenizer->id_of(token.content);
    tokens[id] = *tokenizer->added_token(id);
  }
  const bool has_json = exists(join_path(source, kJson));
  if (has_json) change_json(source, tokens, folder);
  change_config(source, known, tokens, change, folder);
  change_map(source, tokens, change, folder);
  change_added(source, tokens, folder, has_json);
  if (absolute_path(source) == absolute_path(folder)) return;
  for (const char* name : kCopied) {
    const std::string from = join_path(source, name);
    if (exists(from)) write_file(join_path(folder, name), read_file(from));
  }
  for (const std::string& name : list_directory(source)) {
    if (ends_with(name, ".tiktoken"))
      write_file(join_path(folder, name), read_file(join_path(source, name)));
  }
}

}  // namespace nibble
