// An adapter's own rows of the embedding and the head, as PEFT keeps them on disk:
//   <table>.token_adapter.trainable_tokens_delta        rows for the ids of trainable_token_indices
//                                                       (they replace; the name says delta)
//   <table>.token_adapter.base_layer.weight             the whole table under them, when the
//                                                       vocabulary grew for this adapter
//   <table>.weight                                      the whole table: of modules_to_save, or the
//                                                       grown base's
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/blueprint.h"
#include "model/files/peft.h"
#include "model/files/safetensors.h"

namespace nibble {

// Keys of adapter_config.json; `where` for messages.
void read_token_settings(const Json& json, const std::string& where, AdapterConfig& config);
void write_token_settings(const AdapterConfig& config, Json& json);

// Tokens a model must have for the adapter in this folder: rows of the tables it stores. 0: none.
int64_t adapter_vocab(const std::string& directory);

// Which tables of a model `config` trains, and how.
struct TokenTargets {
  struct Table {
    std::vector<int64_t> ids;  // as in the configuration
    bool whole = false;        // modules_to_save
    bool any() const { return whole || !ids.empty(); }
  };
  Table embedding, head;
  bool head_follows = false;  // tied: the head has the embedding's rows
};
// Throws UserError for a name that is no table, a table that is named twice, an id out of range or
// given twice; place = `where`, `vocab` the tokens there are.
TokenTargets token_targets(const AdapterConfig& config, const Blueprint& b, int64_t vocab,
                           const std::string& where);

// One table of an adapter file; shapes are checked against the blueprint.
struct StoredTable {
  std::vector<int64_t> ids;           // of `rows`
  Tensor rows;                        // f32, undefined without ids
  const TensorInfo* whole = nullptr;  // the table as stored; null: the base's
  bool saved_module = false;          // `whole` is of modules_to_save
};
struct StoredTokens {
  StoredTable embedding, head;
  bool head_follows = false;
  int64_t vocab = 0;            // 0: the base's
  std::set<std::string> names;  // the tensors read
};
StoredTokens read_stored_tokens(const AdapterConfig& config, const TensorFiles& files,
                                const Blueprint& b, const Device& device);

// Puts them into a slot of the decoder.
void load_tokens(const StoredTokens& stored, const TensorFiles& files, Decoder& decoder, int slot,
                 bool trains, const Device& device);
// Rows to begin training with: the base's.
void fresh_tokens(const TokenTargets& targets, Decoder& decoder, const Device& device);
// The tensors that belong in an adapter file.
NamedTensors saved_tokens(const AdapterConfig& config, const Decoder& decoder, int slot);

}  // namespace nibble
