// The one forward for training and serving: embedding, layers, final norm, head. Activations are
// (tokens, hidden); what differs between the two uses is in ForwardContext.
#pragma once

#include <memory>
#include <vector>

#include "autograd/nn/linear.h"
#include "model/blueprint.h"

namespace nibble {

// Where a decoder's matrices come from: read as they are, quantized while loading, random, a shard.
class LinearSource {
 public:
  virtual ~LinearSource() = default;
  virtual Linear linear(const std::string& path, int64_t out, int64_t in, Split split,
                        bool bias) = 0;
  // A norm weight (width), acc dtype.
  virtual std::shared_ptr<Parameter> vector(const std::string& name, int64_t width) = 0;
  // The embedding (vocab, hidden).
  virtual Linear embedding(const std::string& path, int64_t vocab, int64_t hidden) = 0;
  virtual bool trains() const { return false; }  // norms, embedding and head are trained
};

enum class Checkpointing : uint8_t { off, every_layer };

class Decoder {
 public:
  Decoder(Blueprint blueprint, LinearSource& source);

  // ids: i32 (tokens), checked against the vocabulary by the caller. Returns the final norm's
  // output (tokens, hidden). Rotary tables are built from the context's positions.
  Var hidden(ForwardContext& context, const Tensor& ids,
             Checkpointing checkpointing = Checkpointing::off) const;
  // (rows, vocab) in f32, rows of hidden as they are.
  Tensor logits(Ctx& ctx, const Tensor& hidden) const;
  // Sum of token losses, f64 scalar; labels i32 (tokens) shifted, negative = ignored.
  Var loss(ForwardContext& context, const Var& hidden, const Tensor& labels) const;

  const Blueprint& blueprint() const { return blueprint_; }
  std::vector<Linear*> linears();  // every projection of every layer, in file order
  std::vector<const Linear*> linears() const;
  Linear* find_linear(const std::string& path);  // null when there is none
  const Linear& head() const;                    // the embedding when tied
  const Linear& embedding() const { return embedding_; }
  // Every trained parameter: masters of `full`, A and B of adapter slot 0 that train.
  std::vector<Parameter*> parameters() const;
  // Every tensor of the model with its file name, for saving (masters, norms, biases).
  std::vector<Parameter*> masters() const;

 private:
  struct Layer {
    std::shared_ptr<Parameter> attention_norm, mlp_norm;
    Linear q, k, v, o, gate, up, down;
  };
  Var layer_forward(ForwardContext& context, size_t index, const Var& x) const;
  Var attention(ForwardContext& context, size_t index, const Var& x) const;
  void rotary_tables(ForwardContext& context) const;
  Var norm(Ctx& ctx, const Var& x, const std::shared_ptr<Parameter>& weight) const;

  Blueprint blueprint_;
  Linear embedding_;
  std::optional<Linear> head_;
  std::shared_ptr<Parameter> final_norm_;
  std::vector<Layer> layers_;
  bool trains_ = false;
};

}  // namespace nibble
