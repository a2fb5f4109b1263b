// Who computes a step. The engine knows this interface only: one process, several that share a
// model, or a script in a test.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/model.h"
#include "serving/batch.h"
#include "serving/sampler.h"

namespace nibble::serving {

class Executor {
 public:
  virtual ~Executor() = default;
  virtual StepOutput run(const InputBatch& batch) = 0;
  // For every row of logits that has a label (>= 0): -log p of it and the row's log-sum-exp, by the
  // loss's own kernel.
  virtual std::vector<RowScore> score(const StepOutput& output,
                                      std::span<const int32_t> labels) = 0;
};

// Keys and values of `block_tokens` tokens in every layer.
int64_t kv_block_bytes(const Blueprint& blueprint, DType compute, int64_t block_tokens);

// The model in this process. Owns the KV blocks, allocated in the constructor: block b of a layer
// is rows [b × block_tokens, (b + 1) × block_tokens), block 0 included.
class LocalExecutor : public Executor {
 public:
  LocalExecutor(const Device& device, std::shared_ptr<const Model> model, int64_t blocks,
                int64_t block_tokens);
  StepOutput run(const InputBatch& batch) override;
  std::vector<RowScore> score(const StepOutput& output, std::span<const int32_t> labels) override;

 private:
  struct Rows;
  Rows lay_out(const InputBatch& batch) const;
  Tensor wanted_logits(const InputBatch& batch, const Rows& rows, const Tensor& hidden);

  Ctx ctx_;
  std::shared_ptr<const Model> model_;
  int64_t blocks_, block_tokens_;
  std::vector<Tensor> keys_, values_;  // per layer (blocks, block_tokens, kv_heads × head_dim)
};

}  // namespace nibble::serving
