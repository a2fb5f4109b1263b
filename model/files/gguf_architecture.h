// What GGUF files of an architecture call the tensors and keys of a Hugging Face directory, and how
// the rows of some tensors are ordered. One row per architecture; everything else works from rows.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/blueprint.h"
#include "model/files/gguf.h"

namespace nibble {

// How the rows of a tensor lie in a GGUF file against Hugging Face's.
enum class RowOrder : uint8_t {
  same,
  pairs_q,     // rotary pairs side by side instead of half a head apart, in every query head
  pairs_k,     // the same in every key head
  stacked,     // q, k, v one after the other instead of key head by key head
  transposed,  // (out, in) instead of (in, out)
};

struct GgufTensorRow {
  const char* gguf;  // "blk.%d.attn_q"; ".weight" or ".bias" follows on both sides
  const char* hf;    // "model.layers.%d.self_attn.q_proj"
  RowOrder order = RowOrder::same;
};

enum class KeyKind : uint8_t { integer, number, boolean };
struct GgufKeyRow {
  const char* gguf;  // behind "llama."
  const char* hf;    // of config.json
  KeyKind kind = KeyKind::integer;
  bool required = true;
};

// Reads tensors that belong to the configuration (rope_freqs.weight), as f32.
using ReadFactors = std::function<std::vector<float>(const GgufTensor&)>;

struct GgufArchitecture {
  const char* name;         // general.architecture: "llama"
  const char* model_type;   // of config.json
  const char* model_class;  // "LlamaForCausalLM"
  std::span<const GgufTensorRow> tensors;
  std::span<const GgufKeyRow> keys;
  double norm_offset = 0;      // Gemma: files hold 1 + w of norms
  bool tied_if_absent = true;  // no output.weight: the embedding is the head
  // What the rows cannot say; may be null.
  void (*read)(const Gguf&, Json& config) = nullptr;
  void (*write)(const Blueprint&, std::vector<std::pair<std::string, GgufValue>>&) = nullptr;
};

std::span<const GgufArchitecture> gguf_architectures();
// By general.architecture; unknown: UserError naming it and the known ones.
const GgufArchitecture& architecture_of(const Gguf& file);
// By model_type of config.json; null when GGUF files of it cannot be written.
const GgufArchitecture* architecture_for(std::string_view model_type);

// The config.json that a file stands for. Keys of the architecture that nobody understands are
// refused by name: they could change numbers.
Json config_of(const Gguf& file, const GgufArchitecture& architecture, const ReadFactors& factors);

// And back: keys behind general.*, and factors that belong into tensors of their own.
struct GgufConfig {
  std::vector<std::pair<std::string, GgufValue>> metadata;
  std::vector<std::pair<std::string, std::vector<float>>> factors;  // "rope_freqs.weight"
};
GgufConfig gguf_config(const Json& config, const Blueprint& blueprint, const std::string& where,
                       const GgufArchitecture& architecture);

// Sizes that orders of rows need.
struct HeadSizes {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
};
HeadSizes head_sizes(const Json& config);
// The row of the GGUF tensor that row `r` of the Hugging Face one is; `rows` in all.
int64_t gguf_row(RowOrder order, const HeadSizes& sizes, int64_t rows, int64_t r);

// "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight", or back; "" when no row fits.
struct NamedRow {
  std::string name;
  RowOrder order = RowOrder::same;
  bool norm = false;  // 1-D weights of norms
};
NamedRow hf_name(const GgufArchitecture& architecture, std::string_view gguf);
NamedRow gguf_name(const GgufArchitecture& architecture, std::string_view hf);

}  // namespace nibble
