// A linear layer: a frozen or trained weight, an optional bias, and low-rank adapters (LoRA; Hu et
// al. 2021) that any row may use. Rows choose adapters by slot, so several serve one batch.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "autograd/nn/forward_context.h"
#include "autograd/ops.h"

namespace nibble {

// How tensor parallelism cuts a linear; the decoder names it, never a rank.
enum class Split : uint8_t { none, out, in };

// y += scale · (dropout(x) Aᵀ) Bᵀ
struct LoraPair {
  Parameter a;  // (r, in)
  Parameter b;  // (out, r)
  double scale = 1;
  double dropout = 0;
  bool trains = false;
  uint64_t site = 0;  // names the dropout's random numbers
};

class Linear {
 public:
  Linear() = default;
  Linear(std::string path, std::shared_ptr<const Weight> frozen, Split split = Split::none);
  Linear(std::string path, std::shared_ptr<Parameter> trained, Split split = Split::none);

  // x (rows, in) → (rows, out). Row windows of context.adapters that are not the whole batch are
  // for serving: with a tape they are a bug.
  Var operator()(const Var& x, const ForwardContext& context) const;

  const std::string& path() const { return path_; }  // "model.layers.0.self_attn.q_proj"
  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  Split split() const { return split_; }
  const std::shared_ptr<const Weight>& weight() const { return weight_; }  // null when trained
  const std::shared_ptr<Parameter>& trained() const { return trained_; }   // null when frozen
  void set_bias(std::shared_ptr<Parameter> bias, bool trains);
  const std::shared_ptr<Parameter>& bias() const { return bias_; }
  void set_adapter(int slot, std::shared_ptr<LoraPair> pair);  // null takes it away
  const std::shared_ptr<LoraPair>& adapter(int slot) const;

 private:
  Var adapted(Var y, const Var& x, LoraPair& pair, const ForwardContext& context) const;

  std::string path_;
  int64_t out_ = 0, in_ = 0;
  Split split_ = Split::none;
  std::shared_ptr<const Weight> weight_;
  std::shared_ptr<Parameter> trained_, bias_;
  bool bias_trains_ = false;
  std::vector<std::shared_ptr<LoraPair>> adapters_;
};

}  // namespace nibble
