#include "trainer/added_tokens.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "base/errors.h"
#include "base/log.h"
#include "model/files/gguf_model.h"
#include "model/files/peft_tokens.h"
#include "model/text/tokenizer_fit.h"

namespace nibble {
namespace {

std::optional<int32_t> now(const Tokenizer& tokenizer, const std::string& role) {
  if (role == "bos_token") return tokenizer.bos();
  if (role == "eos_token") return tokenizer.eos();
  if (role == "pad_token") return tokenizer.pad();
  if (role == "unk_token") return tokenizer.unk();
  return std::nullopt;
}

// What is left to do of what the recipe asks; `there` gets the tokens that ask for nothing.
TokenizerChange change_of(const Recipe& recipe, const Tokenizer& tokenizer,
                          std::vector<std::string>& there) {
  TokenizerChange change;
  std::set<std::string> taken;
  const auto add = [&](const std::string& content, bool special) {
    if (!taken.insert(content).second) return;
    const auto id = tokenizer.id_of(content);
    if (id && (!special || tokenizer.is_special(*id))) {
      there.push_back(content);
      return;
    }
    NewToken token;
    token.content = content;
    token.special = special;
    change.tokens.push_back(std::move(token));
  };
  for (const std::string& content : recipe.special_tokens.additional) add(content, true);
  for (const std::string& content : recipe.tokens) add(content, false);
  for (const auto& [role, content] : recipe.special_tokens.roles) {
    const auto id = tokenizer.id_of(content);
    if (id && id == now(tokenizer, role)) {
      there.push_back(content);
      continue;
    }
    change.roles.emplace_back(role, content);
  }
  return change;
}

bool is_suffix(const std::string& path, const std::string& name) {
  return path == name || ends_with(path, "." + name);
}

// The mistakes that only the model shows, at their places in the recipe.
void check_rows(const Recipe& recipe, const Blueprint& b) {
  std::vector<UserError> all;
  for (const TrainedRows& rows : recipe.trainable_token_indices) {
    if (!rows.table.empty() && !is_suffix(b.names.embedding, rows.table) &&
        !is_suffix(b.names.head, rows.table))
      all.emplace_back(rows.where,
                       cat("trainable_token_indices: '", rows.table, "' is no table of tokens"),
                       cat("this model has ", b.names.embedding, " and ", b.names.head));
    for (const TokenIndex& i : rows.ids)
      if (i.id >= b.vocab)
        all.emplace_back(
            i.where,
            cat("trainable_token_indices: id ", i.id, " is outside the vocabulary of ", b.vocab),
            cat("use ids from 0 to ", b.vocab - 1));
  }
  if (!all.empty()) throw UserErrors(std::move(all));
}

}  // namespace

AddedTokens add_tokens(const Recipe& recipe, const std::string& directory, int64_t vocab) {
  AddedTokens out;
  out.source = directory;
  out.vocab = vocab;
  const std::string& adapter = recipe.lora_model_dir;
  if (!adapter.empty()) {
    out.vocab = std::max(vocab, adapter_vocab(adapter));
    if (Tokenizer::present(adapter)) out.source = adapter;
  }
  const bool asked = !recipe.tokens.empty() || !recipe.special_tokens.empty();
  if (!Tokenizer::present(out.source)) {
    if (asked)
      throw UserError(recipe.tokens_where,
                      cat("tokens are asked for, ", out.source, " has no tokenizer to add them to"),
                      "put tokenizer.json beside the weights");
    return out;
  }
  if (asked && is_gguf(out.source))
    throw UserError(recipe.tokens_where, "tokens cannot be added to a GGUF file yet",
                    "convert the base to a Hugging Face directory first");
  out.tokenizer = load_fitting_tokenizer(out.source, out.vocab);
  if (!asked) return out;
  std::vector<std::string> there;
  out.change = change_of(recipe, *out.tokenizer, there);
  if (!there.empty())
    log::row("tokens", cat("there already, left as they are: ", join(there, " ")));
  const int32_t first = out.tokenizer->vocab_size();
  const int32_t added = change_tokenizer(*out.tokenizer, out.change);
  out.ids.resize(static_cast<size_t>(added));
  std::iota(out.ids.begin(), out.ids.end(), int64_t{first});
  if (!out.ids.empty() && !adapter.empty())
    throw UserError(
        recipe.tokens_where,
        cat("adds ", out.ids.size(), " tokens that the adapter in lora_model_dir lacks"),
        "add them where its training begins, or merge it first");
  out.vocab = std::max<int64_t>(out.vocab, out.tokenizer->vocab_size());
  return out;
}

void choose_rows(const Recipe& recipe, const std::vector<int64_t>& new_ids, const Blueprint& b,
                 AdapterConfig& config) {
  check_rows(recipe, b);
  config.modules_to_save = recipe.lora_modules_to_save;
  for (const TrainedRows& rows : recipe.trainable_token_indices)
    for (const TokenIndex& i : rows.ids) config.token_indices[rows.table].push_back(i.id);
  const std::string where = recipe.file;
  TokenTargets targets = token_targets(config, b, b.vocab, where);
  if (new_ids.empty()) return;
  const auto with_new = [&](std::vector<int64_t>& ids) {
    std::set<int64_t> all(ids.begin(), ids.end());
    all.insert(new_ids.begin(), new_ids.end());
    ids.assign(all.begin(), all.end());
  };
  if (!targets.embedding.whole) with_new(targets.embedding.ids);
  // A tied head that trains by rows follows the embedding's.
  const bool follows = b.tied && !targets.embedding.whole && targets.head.ids.empty();
  if (!targets.head.whole && !follows) with_new(targets.head.ids);
  config.token_indices.clear();
  const auto part = [](const std::string& path) { return path.substr(path.rfind('.') + 1); };
  if (!targets.embedding.ids.empty())
    config.token_indices[targets.head.ids.empty() ? "" : part(b.names.embedding)] =
        targets.embedding.ids;
  if (!targets.head.ids.empty()) config.token_indices[part(b.names.head)] = targets.head.ids;
}

}  // namespace nibble
