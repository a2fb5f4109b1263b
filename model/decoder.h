// The one forward for training and serving: embedding, layers, final norm, head. Activations are
// (tokens, hidden); what differs between the two uses is in ForwardContext. Which parts a layer has
// and how they are joined is the Blueprint's to say.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "autograd/nn/linear.h"
#include "autograd/nn/token_rows.h"
#include "model/blueprint.h"

namespace nibble {

// Where a decoder's matrices come from: read as they are, quantized while loading, random, a shard.
class LinearSource {
 public:
  virtual ~LinearSource() = default;
  virtual Linear linear(const std::string& path, int64_t out, int64_t in, Split split,
                        bool bias) = 0;
  // A norm's weight or bias, acc dtype.
  virtual std::shared_ptr<Parameter> vector(const std::string& name, Shape shape) = 0;
  // A table of rows to look up (rows, hidden): tokens, positions, token types. `bias` only where
  // the tokens' table is the head too and that has one.
  virtual Linear embedding(const std::string& path, int64_t rows, int64_t hidden, bool bias) = 0;
  // Whether the files have it: what a checkpoint may leave out (a pooler).
  virtual bool has(const std::string& name) const = 0;
  virtual Memory& memory() = 0;
  virtual bool trains() const { return false; }  // norms, embedding and head are trained
};

enum class Checkpointing : uint8_t { off, every_layer };

class Decoder {
 public:
  Decoder(Blueprint blueprint, LinearSource& source);

  // Sees what flows between the blocks: "embed", "block0", …, "head_input", each (tokens, hidden).
  using Tap = std::function<void(const std::string& name, const Tensor& value)>;

  // ids: i32 (tokens), checked against the vocabulary by the caller. Returns the final norm's
  // output (tokens, hidden). Rotary tables are built from the context's positions.
  Var hidden(ForwardContext& context, const Tensor& ids,
             Checkpointing checkpointing = Checkpointing::off, const Tap& tap = {}) const;
  // (rows, vocab) in f32, rows of hidden as they are; rows in no range are the base's. Tokens that
  // a row's adapter does not know are -inf. Not for encoders.
  Tensor logits(Ctx& ctx, const Tensor& hidden, std::span<const AdapterRows> adapters = {}) const;
  // Sum of token losses, f64 scalar; labels i32 (tokens) shifted, negative = ignored.
  Var loss(ForwardContext& context, const Var& hidden, const Tensor& labels) const;
  // Encoders: tanh(W h + b) of the rows given (the first of each text); undefined without a pooler.
  Tensor pooled(Ctx& ctx, const Tensor& rows) const;

  const Blueprint& blueprint() const { return blueprint_; }
  std::vector<Linear*> linears();  // every projection of every layer, in file order
  std::vector<const Linear*> linears() const;
  Linear* find_linear(const std::string& path);  // null when there is none
  const Linear& head() const;                    // the embedding when tied
  const Linear& embedding() const { return embedding_; }
  // What the adapter of a slot has of the embedding and the head; none takes it away.
  void set_tokens(int slot, AdapterTokens tokens);
  const AdapterTokens& tokens(int slot) const;
  // Every trained parameter: masters of `full`, A, B and own rows of adapter slot 0 that train.
  std::vector<Parameter*> parameters() const;
  // Every tensor of the model with its file name, for saving (masters, norms, biases).
  std::vector<Parameter*> masters() const;

 private:
  struct Norm {
    NormSpec spec;
    std::shared_ptr<Parameter> weight, bias;  // weight is null where the layer has no such norm
  };
  struct Layer {
    std::array<Norm, kNormRoles> norms;
    std::array<Linear, kLinearRoles> linears;  // those without a path are not there
    const Norm& operator[](NormRole role) const { return norms[static_cast<size_t>(role)]; }
    const Linear& operator[](LinearRole role) const { return linears[static_cast<size_t>(role)]; }
  };
  struct Heads {
    Var q, k, v;
  };
  Norm make_norm(LinearSource& source, const std::string& path, const NormSpec& spec) const;
  Norm model_norm(LinearSource& source, const std::string& path) const;
  Layer make_layer(LinearSource& source, int64_t index) const;

  Var embed(ForwardContext& context, const Tensor& ids) const;
  Var embed_tokens(ForwardContext& context, const Tensor& ids) const;
  void own_logits(Ctx& ctx, const Tensor& hidden, std::span<const AdapterRows> adapters,
                  const Tensor& logits) const;
  void hide_unknown(std::span<const AdapterRows> adapters, const Tensor& logits) const;
  Var layer_forward(ForwardContext& context, size_t index, const Var& x) const;
  Var attention(ForwardContext& context, size_t index, const Var& x) const;
  Heads heads(ForwardContext& context, size_t index, const Var& x) const;
  Var attend(ForwardContext& context, size_t index, const Heads& heads) const;
  Var mlp(ForwardContext& context, const Layer& layer, const Var& x) const;
  Var join(Ctx& ctx, const Var& x, const Var& branch) const;
  // x itself where the norm is not there.
  Var norm(Ctx& ctx, const Var& x, const Norm& norm) const;
  void rotary_tables(ForwardContext& context) const;

  Blueprint blueprint_;
  Linear embedding_, positions_, token_types_, pooler_;
  std::optional<Linear> head_;
  Norm embedding_norm_, final_norm_;
  std::vector<Layer> layers_;
  std::vector<AdapterTokens> tokens_;  // by adapter slot
  bool trains_ = false;
};

}  // namespace nibble
