#include "trainer/audit.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "model/blueprint.h"
#include "model/files/hf_directory.h"
#include "model/text/tokenizer_chat.h"
#include "trainer/added_tokens.h"
#include "trainer/recipe.h"
#include "trainer/rows.h"

namespace nibble {
namespace {

Json row_json(const Row& row, const Tokenizer* tokenizer) {
  Json tokens = Json::array();
  for (size_t d = 0; d < row.documents.size(); ++d) {
    const Document& document = row.documents[d];
    for (size_t i = 0; i < document.ids.size(); ++i) {
      const int32_t id = document.ids[i];
      // The first label of a document is never used: nothing comes before it.
      const bool learned = i > 0 && document.labels[i] >= 0;
      Json token = {{"id", id}, {"label", learned ? Json(document.labels[i]) : Json()}};
      if (tokenizer != nullptr) token["text"] = tokenizer->token_text(id);
      if (row.documents.size() > 1) token["document"] = d;
      tokens.push_back(std::move(token));
    }
  }
  return {{"where", row.where}, {"targets", row.targets()}, {"tokens", std::move(tokens)}};
}

}  // namespace

Json audit_rows(const std::string& recipe_path,
                const std::vector<std::pair<std::string, std::string>>& overrides, int64_t rows) {
  Recipe recipe;
  Settings settings;
  recipe.read(recipe_path, overrides, settings);
  const std::string directory = resolve_model(recipe.base_model);
  std::string config;
  const Json json = read_model_config(directory, &config);
  const Blueprint blueprint = read_blueprint(json, config);
  const AddedTokens added = add_tokens(recipe, directory, blueprint.vocab);
  const Tokenizer* tokenizer = added.tokenizer.get();
  std::unique_ptr<ChatTemplate> chat;
  if (tokenizer != nullptr)
    chat = std::make_unique<ChatTemplate>(chat_template_of(
        *tokenizer, directory, recipe.template_choice(), recipe.chat_template_where.str()));
  RowReader reader;
  reader.tokenizer = tokenizer;
  reader.chat = chat.get();
  reader.vocab = added.vocab;
  reader.sequence_len = std::min(recipe.sequence_len, blueprint.max_positions);
  reader.train_on_inputs = recipe.train_on_inputs;
  Json out = Json::array();
  int64_t all = 0, tokens = 0, targets = 0;
  for (const DatasetSpec& spec : recipe.datasets)
    for (const Row& row : read_dataset(spec, reader).rows) {
      if (all++ < rows) out.push_back(row_json(row, tokenizer));
      tokens += row.tokens();
      targets += row.targets();
    }
  return {{"dataset", {{"rows", all}, {"tokens", tokens}, {"targets", targets}}},
          {"rows", std::move(out)}};
}

}  // namespace nibble
