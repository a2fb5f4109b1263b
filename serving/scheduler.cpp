// Planning a step: who runs, how many tokens each, whose blocks are taken back.
#include "serving/scheduler.h"

#include <algorithm>

#include "base/errors.h"
#include "base/random.h"

namespace nibble::serving {

Admit judge(const SchedulerOptions& options, int64_t queued_requests, int64_t queued_tokens,
            int64_t prompt) {
  if (prompt >= options.max_context) return Admit::too_long;
  if (queued_requests >= options.max_queued_requests) return Admit::queue_full;
  if (queued_requests > 0 && queued_tokens + prompt > options.max_queued_tokens)
    return Admit::queue_full;
  return Admit::accepted;
}

Scheduler::Scheduler(SchedulerOptions options)
    : options_(std::move(options)), pool_(options_.blocks) {
  check(options_.block_tokens > 0 && options_.max_batch_tokens > 0 && options_.max_sequences > 0 &&
            options_.max_scored_rows > 0,
        "scheduler: every limit is at least 1");
  // Every running sequence gets at least one token of every step.
  options_.max_sequences = std::min(options_.max_sequences, options_.max_batch_tokens);
  if (!options_.spread)
    options_.spread = [](int64_t n, const std::function<void(int64_t)>& body) {
      for (int64_t i = 0; i < n; ++i) body(i);
    };
}

Scheduler::~Scheduler() = default;

int64_t Scheduler::blocks_for(int64_t tokens) const {
  return (tokens + options_.block_tokens - 1) / options_.block_tokens;
}

Admit Scheduler::submit(Request request) {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  check(by_id_.count(request.id) == 0, cat("request ", request.id, " twice"));
  const Admit verdict = judge(options_, queued_requests_, queued_tokens_, prompt);
  if (verdict != Admit::accepted) {
    ++stats_.rejected;
    return verdict;
  }
  uint64_t seed = 0;
  if (request.sampling.seed) {
    seed = *request.sampling.seed;
  } else {
    const RngKey key{options_.seed, rng_site("request seed"), 0, 0};
    seed = uint64_t{random_u32(key, drawn_, 0)} << 32 | random_u32(key, drawn_, 1);
    ++drawn_;
  }
  auto item = std::make_shared<Sequence>(std::move(request), seed, options_.tokenizer.get());
  by_id_.emplace(item->request.id, item);
  waiting_.push_back(std::move(item));
  ++queued_requests_;
  queued_tokens_ += prompt;
  ++stats_.accepted;
  return verdict;
}

void Scheduler::cancel(uint64_t request) {
  const auto it = by_id_.find(request);
  if (it == by_id_.end()) return;
  const Item item = it->second;
  item->cancelled = true;
  if (stepping_) return;  // complete() ends it: a batch in flight still writes to its blocks
  finish(*item, FinishReason::cancelled);
  sweep();
}

void Scheduler::cancel_all() {
  std::vector<uint64_t> ids;
  for (const auto& [id, item] : by_id_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  for (const uint64_t id : ids) cancel(id);
}

void Scheduler::fail_all(const std::string& why) {
  in_flight_.clear();
  stepping_ = false;
  for (const Item& item : running_) finish(*item, FinishReason::failed, why);
  for (const Item& item : waiting_) finish(*item, FinishReason::failed, why);
  sweep();
}

InputBatch Scheduler::next() {
  check(!stepping_, "scheduler: a step is in flight");
  InputBatch batch;
  for (;;) {
    budget_ = options_.max_batch_tokens;
    scored_budget_ = options_.max_scored_rows;
    preempted_ = false;
    plan_running(batch);
    admit_waiting(batch);
    if (!batch.empty()) break;
    if (idle()) return batch;
    // Whoever is oldest has had the whole pool to itself and does not fit: waiting would never end.
    Sequence& oldest = running_.empty() ? *waiting_.front() : *running_.front();
    finish(oldest, FinishReason::failed,
           cat("the request needs ", blocks_for(oldest.known()), " KV blocks of ",
               options_.block_tokens, " tokens, there are ", pool_.total()));
    sweep();
  }
  stepping_ = true;
  ++stats_.steps;
  return batch;
}

void Scheduler::plan_running(InputBatch& batch) {
  for (size_t i = 0; i < running_.size(); ++i) {
    const Item item = running_[i];
    const int64_t limit = options_.recompute_past;
    if (limit > 0 && item->computed_as <= limit && item->known() > limit) item->computed = 0;
    // One token is left for everyone admitted later, so that a long prompt does not stall them.
    const auto later = static_cast<int64_t>(running_.size() - 1 - i);
    const int64_t tokens = chunk_of(*item, budget_ - later);
    if (tokens == 0) continue;  // prompt scoring has used up the step's logits
    if (!reserve(*item, item->computed + tokens)) return;
    place(item, tokens, batch);
  }
}

// Blocks for `tokens` tokens, taken from those admitted last when there are none left. False when
// that was the sequence itself.
bool Scheduler::reserve(Sequence& sequence, int64_t tokens) {
  const int64_t need = blocks_for(tokens) - static_cast<int64_t>(sequence.blocks.size());
  if (need <= 0) return true;
  for (;;) {
    if (auto blocks = pool_.take(need)) {
      for (Block& block : *blocks) sequence.blocks.push_back(std::move(block));
      return true;
    }
    preempt_last();
    if (sequence.state() == State::preempted) return false;
  }
}

void Scheduler::preempt_last() {
  Item last = std::move(running_.back());
  running_.pop_back();
  last->preempt();
  waiting_.push_front(std::move(last));
  preempted_ = true;
  ++stats_.preemptions;
}

void Scheduler::admit_waiting(InputBatch& batch) {
  // Who was just sent away must not find someone else in its place.
  while (!preempted_ && !waiting_.empty() && budget_ > 0 &&
         static_cast<int64_t>(running_.size()) < options_.max_sequences) {
    const Item item = waiting_.front();
    // The whole of what is known must fit, not only the first chunk, with a little left for those
    // who run to grow.
    const int64_t need = blocks_for(item->known());
    const int64_t headroom = running_.empty() ? 0 : std::max<int64_t>(1, pool_.total() / 100);
    if (pool_.free() < need + headroom) return;
    const int64_t tokens = chunk_of(*item, budget_);
    if (tokens == 0) return;
    if (item->state() == State::queued) {
      --queued_requests_;
      queued_tokens_ -= item->prompt();
    }
    item->move(State::prefilling);
    waiting_.pop_front();
    running_.push_back(item);
    check(reserve(*item, item->known()), "admission: blocks were counted");
    place(item, tokens, batch);
  }
}

int64_t Scheduler::chunk_of(const Sequence& sequence, int64_t budget) const {
  const int64_t tokens = std::min(sequence.known() - sequence.computed, budget);
  const int64_t from = std::max(sequence.computed, sequence.first_unscored());
  const int64_t to = std::min(sequence.computed + tokens, sequence.prompt() - 1);
  if (to - from <= scored_budget_) return tokens;
  return from + scored_budget_ - sequence.computed;
}

// Always the last rows of a chunk: those that score the prompt, then the one to sample from.
int64_t Scheduler::wanted_of(const Sequence& sequence, int64_t tokens) const {
  const int64_t end = sequence.computed + tokens;
  const int64_t from = std::max(sequence.computed, sequence.first_unscored());
  const int64_t scored = std::max<int64_t>(0, std::min(end, sequence.prompt() - 1) - from);
  return scored + (end == sequence.known() ? 1 : 0);
}

void Scheduler::place(const Item& item, int64_t tokens, InputBatch& batch) {
  const Sequence& s = *item;
  Chunk chunk;
  chunk.request = s.request.id;
  const auto first = s.tokens.begin() + s.computed;
  chunk.tokens.assign(first, first + tokens);
  chunk.start = s.computed;
  chunk.prompt = s.prompt();
  chunk.known = item->computed_as = s.known();
  for (const Block& block : s.blocks) chunk.blocks.push_back(block.id());
  chunk.adapter = s.request.adapter;
  chunk.wanted = wanted_of(s, tokens);
  budget_ -= tokens;
  const bool samples = s.computed + tokens == s.known();
  scored_budget_ -= chunk.wanted - (samples ? 1 : 0);
  in_flight_.push_back({item, tokens, chunk.wanted});
  batch.chunks.push_back(std::move(chunk));
}

EngineStats Scheduler::stats() const {
  EngineStats s = stats_;
  s.running = static_cast<int64_t>(running_.size());
  s.waiting = static_cast<int64_t>(waiting_.size());
  s.blocks_total = pool_.total();
  s.blocks_used = pool_.used();
  return s;
}

}  // namespace nibble::serving
