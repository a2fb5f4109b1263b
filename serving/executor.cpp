// One step on this machine: rows of all chunks side by side, those of one adapter together, through
// the same decoder that trains; then the head for the rows that want logits.
#include "serving/executor.h"

#include <algorithm>
#include <numeric>

namespace nibble::serving {

// The step's device tensors and where each chunk lies in them.
struct LocalExecutor::Rows {
  PagedBatch paged;
  Tensor ids, table;  // i32 (rows), i32 (chunks, max blocks)
  int64_t max_blocks = 0;
  std::vector<AdapterRows> adapters;
  std::vector<int64_t> first;  // row of each chunk's first token
};

int64_t kv_block_bytes(const Blueprint& b, DType compute, int64_t block_tokens) {
  return 2 * b.layers * block_tokens * b.kv_heads * b.head_dim * size_of(compute);
}

LocalExecutor::LocalExecutor(const Device& device, std::shared_ptr<const Model> model,
                             int64_t blocks, int64_t block_tokens)
    : ctx_(device, model->options.compute),
      model_(std::move(model)),
      blocks_(blocks),
      block_tokens_(block_tokens) {
  const Blueprint& b = model_->decoder->blueprint();
  const Shape shape{blocks, block_tokens, b.kv_heads * b.head_dim};
  for (int64_t layer = 0; layer < b.layers; ++layer) {
    keys_.push_back(ctx_.empty(shape, Purpose::kv));
    values_.push_back(ctx_.empty(shape, Purpose::kv));
  }
}

LocalExecutor::Rows LocalExecutor::lay_out(const InputBatch& batch) const {
  const size_t count = batch.chunks.size();
  Rows rows;
  rows.first.resize(count);
  for (const Chunk& chunk : batch.chunks)
    rows.max_blocks = std::max(rows.max_blocks, static_cast<int64_t>(chunk.blocks.size()));
  const int64_t n = batch.tokens();
  const auto column = [&](DType dtype) { return ctx_.empty({n}, dtype, Purpose::scratch); };
  PagedBatch& paged = rows.paged;
  paged.rows = n;
  rows.ids = column(DType::i32);
  paged.sequences = column(DType::i32);
  paged.positions = column(DType::i32);
  paged.slots = column(DType::i64);
  paged.lengths = column(DType::i32);
  const bool whole = length_rule(model_->decoder->blueprint().ropes[0]) == RopeLength::by_text;
  rows.table = Tensor::zeros(ctx_.memory,
                             {static_cast<int64_t>(count), std::max<int64_t>(1, rows.max_blocks)},
                             DType::i32, Purpose::scratch);
  rows.max_blocks = rows.table.cols();

  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return batch.chunks[a].adapter < batch.chunks[b].adapter;
  });
  int64_t row = 0;
  for (const size_t i : order) {
    const Chunk& chunk = batch.chunks[i];
    const auto tokens = static_cast<int64_t>(chunk.tokens.size());
    check(static_cast<int64_t>(chunk.blocks.size()) * block_tokens_ >= chunk.start + tokens,
          "a chunk's blocks hold its tokens");
    rows.first[i] = row;
    if (chunk.adapter >= 0) {
      if (rows.adapters.empty() || rows.adapters.back().adapter != chunk.adapter)
        rows.adapters.push_back({chunk.adapter, row, row});
      rows.adapters.back().end = row + tokens;
    }
    std::copy(chunk.blocks.begin(), chunk.blocks.end(),
              rows.table.data<int32_t>() + static_cast<int64_t>(i) * rows.max_blocks);
    for (int64_t t = 0; t < tokens; ++t, ++row) {
      const int64_t position = chunk.start + t;
      const int64_t block = chunk.blocks[static_cast<size_t>(position / block_tokens_)];
      check(0 < block && block < blocks_, "a block of this cache");
      rows.ids.data<int32_t>()[row] = chunk.tokens[static_cast<size_t>(t)];
      paged.sequences.data<int32_t>()[row] = static_cast<int32_t>(i);
      paged.positions.data<int32_t>()[row] = static_cast<int32_t>(position);
      // Whatever chunk or preemption it is computed in, a token turns as it did at first.
      paged.lengths.data<int32_t>()[row] =
          static_cast<int32_t>(whole ? chunk.known : std::max(chunk.prompt, position + 1));
      paged.slots.data<int64_t>()[row] = block * block_tokens_ + position % block_tokens_;
    }
  }
  for (size_t layer = 0; layer < keys_.size(); ++layer) {
    PagedKv kv;
    kv.keys = keys_[layer].raw();
    kv.values = values_[layer].raw();
    kv.dtype = ctx_.compute;
    kv.block_tokens = block_tokens_;
    kv.block_table = rows.table.data<int32_t>();
    kv.max_blocks = rows.max_blocks;
    paged.layers.push_back(kv);
  }
  return rows;
}

Tensor LocalExecutor::wanted_logits(const InputBatch& batch, const Rows& rows,
                                    const Tensor& hidden) {
  const int64_t n = batch.wanted();
  std::vector<AdapterRows> adapters;
  Tensor index = ctx_.empty({n}, DType::i32, Purpose::scratch);
  int64_t at = 0;
  for (size_t i = 0; i < batch.chunks.size(); ++i) {
    const Chunk& chunk = batch.chunks[i];
    const int64_t end = rows.first[i] + static_cast<int64_t>(chunk.tokens.size());
    if (chunk.adapter >= 0 && chunk.wanted > 0)
      adapters.push_back({chunk.adapter, at, at + chunk.wanted});
    for (int64_t r = end - chunk.wanted; r < end; ++r)
      index.data<int32_t>()[at++] = static_cast<int32_t>(r);
  }
  Tensor out = ctx_.empty({n, hidden.cols()});
  ctx_.k.gather_rows(ctx_.stream, n, hidden.cols(), ctx_.compute, hidden.raw(), hidden.pitch(),
                     index.data<int32_t>(), out.raw(), out.pitch());
  return model_->decoder->logits(ctx_, out, adapters);
}

StepOutput LocalExecutor::run(const InputBatch& batch) {
  StepOutput output;
  if (batch.empty()) return output;
  const Rows rows = lay_out(batch);
  ForwardContext context{ctx_};
  context.paged = &rows.paged;
  context.adapters = rows.adapters;
  const Tensor hidden = model_->decoder->hidden(context, rows.ids).value();
  if (batch.wanted() > 0) output.logits = wanted_logits(batch, rows, hidden);
  ctx_.stream.wait();
  return output;
}

std::vector<RowScore> LocalExecutor::score(const StepOutput& output,
                                           std::span<const int32_t> labels) {
  const int64_t rows = output.logits.rows(), vocab = output.logits.cols();
  check_eq(static_cast<int64_t>(labels.size()), rows, "one label a row");
  const Tensor label = ctx_.empty({rows}, DType::i32, Purpose::scratch);
  const Tensor nll = ctx_.empty({rows}, DType::f32, Purpose::scratch);
  const Tensor lse = ctx_.empty({rows}, DType::f32, Purpose::scratch);
  std::copy(labels.begin(), labels.end(), label.data<int32_t>());
  ctx_.k.cross_entropy_fwd(ctx_.stream, rows, vocab, DType::f32, output.logits.raw(),
                           output.logits.pitch(), label.data<int32_t>(), nll.raw(), lse.raw());
  ctx_.stream.wait();
  std::vector<RowScore> scores;
  for (int64_t r = 0; r < rows; ++r) scores.push_back({nll.data<float>()[r], lse.data<float>()[r]});
  return scores;
}

}  // namespace nibble::serving
