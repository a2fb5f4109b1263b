// A model in memory: its decoder, the config it came from, and how its weights were loaded.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "model/decoder.h"
#include "model/files/peft.h"
#include "quant/plan.h"

namespace nibble {

class TensorFiles;

struct LoadOptions {
  DType compute = DType::bf16;
  // What to quantize while loading; nothing: keep what the files hold. A directory that is
  // quantized already is taken from its own bytes, and only rules that name a module count.
  QuantPlan quant;
  bool train_all = false;  // masters of every weight (adapter: full)
  // Of the matrices among them. Vectors are f32: they are small, and a norm's weights near 1 would
  // lose most of an update.
  DType master = DType::f32;
  // Tokens the model shall have: beyond those of its files the rows of embedding and head are the
  // mean of the others. Fewer than they hold mean nothing; see adapter_vocab.
  int64_t vocab = 0;
  bool encoder = false;  // the caller knows what to do with a model that has no head
  // Called with bytes done and all bytes while loading.
  std::function<void(int64_t, int64_t)> progress;
};

struct Model {
  std::string directory;
  std::string tokenizer_directory;  // where its tokenizer lies: here, or with an adapter
  std::shared_ptr<Json> config;
  std::unique_ptr<Decoder> decoder;
  LoadOptions options;
  bool prequantized = false;       // quantized on file
  std::optional<QuantSpec> quant;  // of most quantized matrices, whoever quantized them
  std::string formats;             // all of them in words; empty: none is quantized
  int64_t weight_bytes = 0;
};

// directory: as resolve_model returns it. Config and tensors that disagree: UserError naming both
// shapes; no tensor is skipped, none is left over unread.
Model load_model(const Device& device, const std::string& directory, const LoadOptions& options);

// Random weights for a config.json (N(0, initializer_range), norms 1), written as an HF directory.
void make_model(const Device& device, const std::string& config_path, const std::string& out,
                uint64_t seed);

// Writes masters into `folder`, which exists, as an HF directory: config kept but for the dtype,
// tokenizer files copied.
void save_full_model(const Device& device, const std::string& folder, const Model& model,
                     DType dtype, int64_t shard_bytes);

// Packs documents into one batch.
struct PackedBatch {
  Tensor ids;     // i32 (tokens)
  Tensor labels;  // i32 (tokens), shifted: labels[t] is the target of token t, -100 ignored
  Segments segments;
  int64_t target_tokens = 0;  // labels that count
};
// One document: ids, labels aligned with them (labels[t] belongs to ids[t], not shifted; empty:
// none) and the id of its sample.
struct Document {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;
  std::vector<int32_t> positions;    // empty: 0, 1, 2, …
  std::vector<int32_t> token_types;  // encoders; empty: all 0
  int64_t sample = 0;
};
PackedBatch pack(Memory& memory, const std::vector<Document>& documents);

}  // namespace nibble
