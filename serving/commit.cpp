// Committing a step: rows of logits become tokens, text and ends. The order of the checks on a new
// token is one place: length, then end-of-sequence, then stop ids; stop strings see the text.
#include <algorithm>
#include <utility>

#include "base/errors.h"
#include "serving/scheduler.h"

namespace nibble::serving {
namespace {

bool contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// The position of the token that row i of a chunk predicts: its last row predicts the one after the
// chunk.
int64_t predicted_by(int64_t chunk_end, int64_t rows, int64_t i) {
  return chunk_end - rows + i + 1;
}

}  // namespace

void Scheduler::complete(const StepOutput& output) {
  check(stepping_, "scheduler: no step is in flight");
  int64_t wanted = 0;
  std::vector<int64_t> first;
  for (const Planned& planned : in_flight_) {
    first.push_back(wanted);
    wanted += planned.wanted;
  }
  const size_t count = in_flight_.size();
  std::vector<Result> results(count);
  std::vector<int32_t> labels(static_cast<size_t>(wanted), -1);
  const int64_t vocab = wanted > 0 ? output.logits.cols() : 0;
  if (wanted > 0) {
    check_eq(output.logits.rows(), wanted, "rows of logits");
    check(output.logits.dtype() == DType::f32 && output.logits.contiguous(), "logits are f32");
    const auto rows_of = [&](size_t i) {
      return Rows{output.logits.data<float>() + first[i] * vocab, vocab};
    };
    const auto part = [&](auto& all, size_t i) {
      return std::span(all).subspan(static_cast<size_t>(first[i]),
                                    static_cast<size_t>(in_flight_[i].wanted));
    };
    options_.spread(static_cast<int64_t>(count), [&](int64_t n) {
      const auto i = static_cast<size_t>(n);
      results[i] = read_rows(in_flight_[i], rows_of(i), part(labels, i));
    });
    if (std::any_of(labels.begin(), labels.end(), [](int32_t label) { return label >= 0; })) {
      const std::vector<RowScore> scores = options_.score(output, labels);
      options_.spread(static_cast<int64_t>(count), [&](int64_t n) {
        const auto i = static_cast<size_t>(n);
        add_logprobs(in_flight_[i], rows_of(i), part(labels, i), part(scores, i), results[i]);
      });
    }
  }

  stepping_ = false;
  const std::vector<Planned> done = std::exchange(in_flight_, {});
  for (size_t i = 0; i < count; ++i) commit(done[i], std::move(results[i]));
  for (const Item& item : running_)
    if (item->cancelled) finish(*item, FinishReason::cancelled);
  for (const Item& item : waiting_)
    if (item->cancelled) finish(*item, FinishReason::cancelled);
  sweep();
}

Scheduler::Result Scheduler::read_rows(const Planned& planned, Rows rows,
                                       std::span<int32_t> labels) const {
  Result result;
  const Sequence& s = *planned.sequence;
  const SamplingParams& params = s.request.sampling;
  if (s.cancelled) return result;
  for (int64_t i = 0; i < planned.wanted; ++i) {
    const int64_t position = predicted_by(s.computed + planned.tokens, planned.wanted, i);
    int32_t& label = labels[static_cast<size_t>(i)];
    if (position < s.prompt()) {
      if (usable(rows[i])) {
        label = s.tokens[static_cast<size_t>(position)];
        continue;
      }
    } else {
      if (params.max_tokens <= 0) continue;
      result.drawn = sample(rows[i], params, {s.seed, s.request.choice, position}, banned_now(s));
      if (result.drawn >= 0) {
        if (params.logprobs >= 0) label = result.drawn;
        continue;
      }
    }
    result.error = cat("the logits after token ", position, " hold no number to choose by");
    std::fill(labels.begin(), labels.end(), -1);
    break;
  }
  return result;
}

void Scheduler::add_logprobs(const Planned& planned, Rows rows, std::span<const int32_t> labels,
                             std::span<const RowScore> scores, Result& result) const {
  const Sequence& s = *planned.sequence;
  for (int64_t i = 0; i < planned.wanted; ++i) {
    const auto n = static_cast<size_t>(i);
    if (labels[n] < 0) continue;
    TokenLogprob logprob = logprob_of(rows[i], labels[n], scores[n], s.request.sampling.logprobs);
    if (predicted_by(s.computed + planned.tokens, planned.wanted, i) < s.prompt()) {
      result.scored.push_back(std::move(logprob));
    } else {
      result.logprob = std::move(logprob);
    }
  }
}

std::vector<int32_t> Scheduler::banned_now(const Sequence& s) const {
  const SamplingParams& params = s.request.sampling;
  if (s.output() >= params.min_tokens) return {};
  std::vector<int32_t> banned = params.stop_token_ids;
  if (!params.ignore_eos) banned.insert(banned.end(), options_.eos.begin(), options_.eos.end());
  return banned;
}

void Scheduler::commit(const Planned& planned, Result&& result) {
  Sequence& s = *planned.sequence;
  s.computed += planned.tokens;
  if (s.cancelled) return;
  if (!result.error.empty()) return finish(s, FinishReason::failed, std::move(result.error));
  for (TokenLogprob& scored : result.scored) {
    s.prompt_logprobs.push_back(std::move(scored));
    ++s.scored;
  }
  if (s.computed < s.known()) return;
  if (s.state() == State::prefilling) s.move(State::decoding);
  if (s.output() == 0) stats_.prompt_tokens += s.prompt();
  Event event = next_event(s, std::move(result));
  if (event.finish != FinishReason::none) return finish(s, std::move(event));
  send(s, std::move(event));
}

Event Scheduler::next_event(Sequence& s, Result&& result) {
  const SamplingParams& params = s.request.sampling;
  Event event;
  event.prompt_logprobs = std::exchange(s.prompt_logprobs, {});
  if (params.max_tokens <= 0) {
    event.finish = FinishReason::length;
    return event;
  }
  const int32_t token = result.drawn;
  check(token >= 0, "a step that ends at the last known token draws the next");
  const bool full = s.output() + 1 >= params.max_tokens || s.known() + 1 >= options_.max_context;
  const bool eos = !params.ignore_eos && contains(options_.eos, token);
  const bool stop = contains(params.stop_token_ids, token);
  s.append(token, full || params.include_stop || !(eos || stop), event);
  if (params.logprobs >= 0) event.logprobs.push_back(std::move(result.logprob));
  ++stats_.generation_tokens;
  if (event.finish == FinishReason::none) {
    if (full) {
      event.finish = FinishReason::length;
    } else if (eos) {
      event.finish = FinishReason::stop;
    } else if (stop) {
      event.finish = FinishReason::stop;
      event.stop_reason = cat(token);
    }
  }
  if (event.finish != FinishReason::none) s.flush(event);
  return event;
}

// A request whose reader fails is cancelled: its failure is its own.
void Scheduler::send(Sequence& s, Event&& event) {
  event.request = s.request.id;
  event.prompt_tokens = s.prompt();
  event.completion_tokens = s.output();
  if (!s.request.on_event) return;
  try {
    s.request.on_event(std::move(event));
  } catch (...) {
    s.cancelled = true;
  }
}

void Scheduler::finish(Sequence& s, FinishReason reason, std::string error) {
  Event event;
  event.finish = reason;
  event.error = std::move(error);
  finish(s, std::move(event));
}

void Scheduler::finish(Sequence& s, Event&& event) {
  if (s.state() == State::finished) return;
  if (s.state() == State::queued) {
    --queued_requests_;
    queued_tokens_ -= s.prompt();
  }
  s.move(State::finished);
  s.free_blocks();
  by_id_.erase(s.request.id);
  count_finish(event.finish);
  send(s, std::move(event));
}

void Scheduler::count_finish(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      ++stats_.finished_stop;
      break;
    case FinishReason::length:
      ++stats_.finished_length;
      break;
    case FinishReason::cancelled:
    case FinishReason::timed_out:
      ++stats_.cancelled;
      break;
    case FinishReason::failed:
      ++stats_.failed;
      break;
    case FinishReason::none:
      break;
  }
}

void Scheduler::sweep() {
  const auto gone = [](const Item& item) { return item->state() == State::finished; };
  running_.erase(std::remove_if(running_.begin(), running_.end(), gone), running_.end());
  waiting_.erase(std::remove_if(waiting_.begin(), waiting_.end(), gone), waiting_.end());
}

}  // namespace nibble::serving
