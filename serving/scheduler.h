// Who computes what in the next step: continuous batching under a token budget, chunked prefill,
// first come first served, preemption by recomputing. Knows no device and no socket; one thread
// calls it. A step is a transaction: next() plans it, complete() commits it.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "serving/batch.h"
#include "serving/sampler.h"
#include "serving/sequence.h"
#include "serving/stats.h"

namespace nibble::serving {

struct SchedulerOptions {
  int64_t blocks = 0;  // of the pool, without the null block
  int64_t block_tokens = 16;
  int64_t max_context = 0;  // prompt and output of a request together
  int64_t max_batch_tokens = 512;
  int64_t max_sequences = 64;
  int64_t max_queued_requests = 256;  // waiting that never ran
  int64_t max_queued_tokens = 1 << 20;
  int64_t max_scored_rows = 512;  // of prompt logprobs in a step: bounds the logits in memory
  // A sequence that grows past so many tokens is computed anew, for all its keys turn otherwise
  // from there on (longrope); 0: never.
  int64_t recompute_past = 0;
  uint64_t seed = 0;  // for requests without one
  std::vector<int32_t> eos;
  std::shared_ptr<const Tokenizer> tokenizer;  // may be null
  // Executor::score, for requests that ask for logprobs.
  std::function<std::vector<RowScore>(const StepOutput&, std::span<const int32_t>)> score;
  // Calls body(i) for i in [0, n), in any order and in parallel if it likes; empty: in a loop.
  std::function<void(int64_t n, const std::function<void(int64_t)>& body)> spread;
};

// Whether a prompt may queue behind what is queued already. An empty queue takes any that fits the
// context.
Admit judge(const SchedulerOptions& options, int64_t queued_requests, int64_t queued_tokens,
            int64_t prompt);

class Scheduler {
 public:
  explicit Scheduler(SchedulerOptions options);
  ~Scheduler();

  Admit submit(Request request);
  // In any state. Its blocks are free when this returns, or after the step in flight.
  void cancel(uint64_t request);
  void cancel_all();
  // Ends every request at once as failed; a step in flight is forgotten.
  void fail_all(const std::string& why);

  // The next step; empty when there is nothing to do. Not while a step is in flight.
  InputBatch next();
  // Commits the step of next(): samples, finishes, sends events.
  void complete(const StepOutput& output);

  bool idle() const { return running_.empty() && waiting_.empty(); }
  int64_t queued_requests() const { return queued_requests_; }
  int64_t queued_tokens() const { return queued_tokens_; }
  EngineStats stats() const;

 private:
  using Item = std::shared_ptr<Sequence>;
  struct Planned {
    Item sequence;  // its blocks live until complete(), whatever happens to the request
    int64_t tokens = 0, wanted = 0;
  };
  struct Rows {
    const float* first = nullptr;
    int64_t vocab = 0;
    std::span<const float> operator[](int64_t i) const {
      return {first + i * vocab, static_cast<size_t>(vocab)};
    }
  };
  // What the rows of one chunk say.
  struct Result {
    int32_t drawn = -1;  // the next token; -1: none was due
    std::string error;
    std::vector<TokenLogprob> scored;  // of prompt tokens
    TokenLogprob logprob;              // of the drawn one
  };
  void plan_running(InputBatch& batch);
  void admit_waiting(InputBatch& batch);
  bool reserve(Sequence& sequence, int64_t tokens);
  void preempt_last();
  void place(const Item& item, int64_t tokens, InputBatch& batch);
  int64_t chunk_of(const Sequence& sequence, int64_t budget) const;
  int64_t wanted_of(const Sequence& sequence, int64_t tokens) const;
  int64_t blocks_for(int64_t tokens) const;

  // Both are pure and may run beside those of other chunks. `rows`: the chunk's logits; labels: the
  // token that each row should be scored for, -1 where none is asked for.
  Result read_rows(const Planned& planned, Rows rows, std::span<int32_t> labels) const;
  void add_logprobs(const Planned& planned, Rows rows, std::span<const int32_t> labels,
                    std::span<const RowScore> scores, Result& result) const;
  void commit(const Planned& planned, Result&& result);
  Event next_event(Sequence& sequence, Result&& result);
  std::vector<int32_t> banned_now(const Sequence& sequence) const;
  void send(Sequence& sequence, Event&& event);
  void finish(Sequence& sequence, FinishReason reason, std::string error = "");
  void finish(Sequence& sequence, Event&& event);
  void count_finish(FinishReason reason);
  void sweep();  // forgets what is finished

  SchedulerOptions options_;
  BlockPool pool_;
  std::deque<Item> waiting_;   // preempted ones in front
  std::vector<Item> running_;  // in admission order
  std::vector<Planned> in_flight_;
  bool stepping_ = false, preempted_ = false;
  int64_t budget_ = 0, scored_budget_ = 0;  // left in the step being planned
  std::unordered_map<uint64_t, Item> by_id_;
  int64_t queued_requests_ = 0, queued_tokens_ = 0;
  uint64_t drawn_ = 0;  // seeds given to requests without one
  EngineStats stats_;
};

}  // namespace nibble::serving
