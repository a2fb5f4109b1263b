// A Hugging Face model directory: config.json in its own key order, weights, tokenizer files. A hub
// id ("org/name") is found in the local cache; nothing is fetched.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace nibble {

// `name` as given (a directory, a GGUF file, or a hub id[@revision]) → the directory or the file; a
// directory without config.json that holds one GGUF file stands for that file. HF_HUB_CACHE,
// HF_HOME,
// ~/.cache/huggingface/hub. Missing: UserError exit 66 with the command that would download it.
std::string resolve_model(const std::string& name);

// The config.json of a model, or what a GGUF file says in its place. `where` is the place to name
// in messages about it. Missing: UserError exit 66.
Json read_model_config(const std::string& place, std::string* where = nullptr);

// The small files that travel with weights unchanged: tokenizer, chat template, generation config,
// licences. Names relative to the directory.
std::vector<std::string> companion_files(const std::string& directory);
void copy_file(const std::string& from, const std::string& to);  // byte for byte

// Splits tensors into shards of at most `shard_bytes` in order and writes model.safetensors, or the
// shards and their index.
struct ShardPlan {
  std::vector<std::vector<size_t>> shards;  // indices into the entries
  std::vector<std::string> names;           // file names
};
ShardPlan plan_shards(const std::vector<int64_t>& bytes, int64_t shard_bytes);

}  // namespace nibble
