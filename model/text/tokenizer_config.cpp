// The small files around a tokenizer. Token names come as a string or as {"content": …}; where two
// files speak of the same token, tokenizer_config.json wins.
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "model/text/tokenizer_parts.h"

namespace nibble::text {

namespace {

[[noreturn]] void bad(const std::string& path, std::string what) {
  throw UserError(path, std::move(what),
                  "see the same file of a model that loads, or fetch it again", Exit::bad_data);
}

std::optional<std::string> token_name(const Json& value, const std::string& path,
                                      const std::string& key) {
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    return value["content"].get<std::string>();
  }
  bad(path, cat(key, " is neither a string nor an object with \"content\""));
}

std::optional<bool> flag(const Json& config, const char* key, const std::string& path) {
  if (!config.contains(key) || config[key].is_null()) return std::nullopt;
  if (!config[key].is_boolean()) bad(path, cat(key, " is not true or false"));
  return config[key].get<bool>();
}

void read_names(const Json& config, const std::string& path, TokenizerConfig& out) {
  const auto name = [&](const char* key, std::optional<std::string>& into) {
    if (!into && config.contains(key)) into = token_name(config[key], path, key);
  };
  name("bos_token", out.bos);
  name("eos_token", out.eos);
  name("pad_token", out.pad);
  name("unk_token", out.unk);
  name("cls_token", out.cls);
  name("sep_token", out.sep);
  name("mask_token", out.mask);
  const char* key = "additional_special_tokens";
  if (!config.contains(key) || !config[key].is_array()) return;
  for (const Json& token : config[key]) {
    if (auto text = token_name(token, path, key)) out.additional_special.push_back(*text);
  }
}

AddedToken read_added(const Json& value, const std::string& path) {
  AddedToken token;
  if (!value.is_object() || !value.contains("content") || !value["content"].is_string()) {
    bad(path, "an entry of added_tokens_decoder has no \"content\"");
  }
  token.content = value["content"].get<std::string>();
  token.special = flag(value, "special", path).value_or(false);
  token.lstrip = flag(value, "lstrip", path).value_or(false);
  token.rstrip = flag(value, "rstrip", path).value_or(false);
  token.single_word = flag(value, "single_word", path).value_or(false);
  token.normalized = flag(value, "normalized", path).value_or(!token.special);
  return token;
}

int32_t read_id(int64_t id, const std::string& path) {
  if (id < 0 || id >= kMostIds) bad(path, cat("token id ", id, " is not between 0 and ", kMostIds));
  return static_cast<int32_t>(id);
}

void read_added_decoder(const Json& config, const std::string& path, TokenizerConfig& out) {
  if (!config.contains("added_tokens_decoder")) return;
  const Json& decoder = config["added_tokens_decoder"];
  if (!decoder.is_object()) bad(path, "added_tokens_decoder is not an object");
  for (const auto& [key, value] : decoder.items()) {
    if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos) {
      bad(path, cat("added_tokens_decoder: \"", key, "\" is no token id"));
    }
    AddedToken token = read_added(value, path);
    token.id = read_id(std::stoll(key), path);
    out.added.push_back(std::move(token));
  }
}

// A string, or a list of named templates of which "default" is the one.
std::string read_template(const Json& config, const std::string& path) {
  if (!config.contains("chat_template") || config["chat_template"].is_null()) return "";
  const Json& value = config["chat_template"];
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) bad(path, "chat_template is neither a string nor a list");
  for (const Json& named : value) {
    if (named.is_object() && named.value("name", "") == "default" && named.contains("template") &&
        named["template"].is_string()) {
      return named["template"].get<std::string>();
    }
  }
  return "";
}

void read_added_json(const std::string& path, TokenizerConfig& out) {
  const Json added = read_json(path);
  if (!added.is_object()) bad(path, "not an object of token names and ids");
  for (const auto& [content, id] : added.items()) {
    if (!id.is_number_integer())
      bad(path, cat("the id of \"", content, "\" is not a whole number"));
    AddedToken token;
    token.content = content;
    token.id = read_id(id.get<int64_t>(), path);
    bool known = false;
    for (const AddedToken& t : out.added) known = known || t.content == content;
    if (!known) out.added.push_back(std::move(token));
  }
}

}  // namespace

TokenizerConfig read_tokenizer_config(const std::string& directory) {
  TokenizerConfig out;
  const std::string main = join_path(directory, "tokenizer_config.json");
  if (exists(main)) {
    const Json config = read_json(main);
    if (!config.is_object()) bad(main, "not a JSON object");
    if (config.contains("tokenizer_class") && config["tokenizer_class"].is_string()) {
      out.tokenizer_class = config["tokenizer_class"].get<std::string>();
    }
    if (config.contains("pat_str") && config["pat_str"].is_string()) {
      out.split_pattern = config["pat_str"].get<std::string>();
    }
    read_names(config, main, out);
    out.add_bos = flag(config, "add_bos_token", main);
    out.add_eos = flag(config, "add_eos_token", main);
    out.legacy = flag(config, "legacy", main);
    out.add_prefix_space = flag(config, "add_prefix_space", main);
    out.do_lower_case = flag(config, "do_lower_case", main);
    out.strip_accents = flag(config, "strip_accents", main);
    out.tokenize_chinese_chars = flag(config, "tokenize_chinese_chars", main);
    read_added_decoder(config, main, out);
    out.chat_template = read_template(config, main);
  }
  const std::string map = join_path(directory, "special_tokens_map.json");
  if (exists(map)) {
    const Json names = read_json(map);
    if (!names.is_object()) bad(map, "not a JSON object");
    read_names(names, map, out);
  }
  const std::string added = join_path(directory, "added_tokens.json");
  if (exists(added)) read_added_json(added, out);
  const std::string jinja = join_path(directory, "chat_template.jinja");
  if (exists(jinja)) out.chat_template = read_file(jinja);
  return out;
}

}  // namespace nibble::text
