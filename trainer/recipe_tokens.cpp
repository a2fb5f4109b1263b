// The keys of a recipe that change the vocabulary or train rows of it.
#include <algorithm>
#include <set>

#include "trainer/recipe.h"

namespace nibble {
namespace {

const std::vector<std::string> kRoles{"bos_token", "eos_token", "pad_token", "unk_token",
                                      "cls_token", "sep_token", "mask_token"};
constexpr char kAdditional[] = "additional_special_tokens";

bool read_token(const YamlNode& node, const char* key, Settings& s, std::string& token) {
  if (auto wrong = read_string(node, token)) {
    s.error(node.where, cat(key, ": a token ", *wrong));
    return false;
  }
  if (token.empty()) s.error(node.where, cat(key, ": a token is empty"));
  return !token.empty();
}

void read_token_list(const YamlNode& node, const char* key, Settings& s,
                     std::vector<std::string>& tokens) {
  const bool list = node.kind == YamlNode::Kind::list;
  for (const YamlNode& item : list ? node.items : std::vector<YamlNode>{node}) {
    std::string token;
    if (read_token(item, key, s, token)) tokens.push_back(token);
  }
}

void read_special_tokens(const YamlNode& node, Settings& s, SpecialTokens& special) {
  special = {};
  if (node.kind != YamlNode::Kind::map) {
    s.error(node.where, "'special_tokens' takes a map", "special_tokens: {pad_token: \"<pad>\"}");
    return;
  }
  for (const auto& [key, value] : node.entries) {
    if (key.scalar == kAdditional) {
      read_token_list(value, kAdditional, s, special.additional);
      continue;
    }
    if (std::find(kRoles.begin(), kRoles.end(), key.scalar) == kRoles.end()) {
      std::vector<std::string> known = kRoles;
      known.emplace_back(kAdditional);
      const std::string close = nearest(key.scalar, known);
      s.error(
          key.where, cat("special_tokens: '", key.scalar, "' is no part a token can take"),
          close.empty() ? cat("they are ", join(known, ", ")) : cat("did you mean '", close, "'?"));
      continue;
    }
    std::string token;
    if (read_token(value, key.scalar.c_str(), s, token))
      special.roles.emplace_back(key.scalar, token);
  }
}

std::string list_text(const std::vector<std::string>& tokens) {
  std::vector<std::string> quoted;
  for (const std::string& token : tokens) quoted.push_back(yaml_scalar(token));
  return "[" + join(quoted, ", ") + "]";
}

std::string special_text(const SpecialTokens& special) {
  std::vector<std::string> parts;
  for (const auto& [role, token] : special.roles)
    parts.push_back(cat(role, ": ", yaml_scalar(token)));
  if (!special.additional.empty())
    parts.push_back(cat(kAdditional, ": ", list_text(special.additional)));
  return "{" + join(parts, ", ") + "}";
}

std::vector<TokenIndex> read_indices(const YamlNode& node, Settings& s) {
  std::vector<TokenIndex> ids;
  if (node.kind != YamlNode::Kind::list) {
    s.error(node.where, "'trainable_token_indices' takes token ids",
            "trainable_token_indices: [5, 17], or {embed_tokens: [5, 17]}");
    return ids;
  }
  std::set<int64_t> seen;
  for (const YamlNode& item : node.items) {
    int64_t id = 0;
    if (auto wrong = read_int(item, id)) {
      s.error(item.where, cat("trainable_token_indices: an id ", *wrong));
    } else if (id < 0) {
      s.error(item.where, cat("trainable_token_indices: an id is at least 0, got ", id));
    } else if (!seen.insert(id).second) {
      s.error(item.where, cat("trainable_token_indices: ", id, " is named twice"));
    } else {
      ids.push_back({id, item.where});
    }
  }
  std::sort(ids.begin(), ids.end(),
            [](const TokenIndex& a, const TokenIndex& b) { return a.id < b.id; });
  return ids;
}

std::string ids_text(const std::vector<TokenIndex>& ids) {
  std::vector<std::string> words;
  for (const TokenIndex& i : ids) words.push_back(cat(i.id));
  return "[" + join(words, ", ") + "]";
}

std::string indices_text(const std::vector<TrainedRows>& all) {
  if (all.empty()) return "[]";
  if (all.size() == 1 && all[0].table.empty()) return ids_text(all[0].ids);
  std::vector<std::string> parts;
  for (const TrainedRows& rows : all)
    parts.push_back(cat(yaml_scalar(rows.table), ": ", ids_text(rows.ids)));
  return "{" + join(parts, ", ") + "}";
}

}  // namespace

void Recipe::declare_tokens(Settings& s) {
  s.heading("Tokens");
  s.custom(
      "tokens", "added to the vocabulary; their rows of embedding and head train",
      [this](const YamlNode& node, Settings& settings) {
        tokens.clear();
        tokens_where = node.where;
        read_token_list(node, "tokens", settings, tokens);
      },
      [this] { return list_text(tokens); });
  s.custom(
      "special_tokens", "{bos_token, eos_token, pad_token, …, additional_special_tokens: […]}",
      [this](const YamlNode& node, Settings& settings) {
        tokens_where = node.where;
        read_special_tokens(node, settings, special_tokens);
      },
      [this] { return special_text(special_tokens); });
  s.custom(
      "trainable_token_indices",
      "ids whose rows of the embedding train too, or {embed_tokens: […], lm_head: […]}",
      [this](const YamlNode& node, Settings& settings) {
        trainable_token_indices.clear();
        if (node.kind != YamlNode::Kind::map) {
          auto ids = read_indices(node, settings);
          if (!ids.empty()) trainable_token_indices.push_back({"", node.where, std::move(ids)});
          return;
        }
        for (const auto& [key, value] : node.entries)
          trainable_token_indices.push_back({key.scalar, key.where, read_indices(value, settings)});
      },
      [this] { return indices_text(trainable_token_indices); });
}

}  // namespace nibble
