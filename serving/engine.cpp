// The engine thread and its two queues: requests and cancellations in, events out through each
// request's own callback.
#include "serving/engine.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "kernels/machine_memory.h"
#include "serving/executor.h"
#include "serving/kv/plan.h"
#include "serving/scheduler.h"

namespace nibble::serving {
namespace {

constexpr int64_t kScoredBytes = int64_t{32} << 20;  // of logits for prompt logprobs in a step

// Ends of a text: the config's, the tokenizer's and those of generation_config.json, which chat
// models use for their end-of-turn token.
std::vector<int32_t> end_tokens(const Model& model, const Tokenizer* tokenizer) {
  std::vector<int32_t> ids;
  const auto add = [&](int64_t id) {
    const auto token = static_cast<int32_t>(id);
    if (id >= 0 && id < model.decoder->blueprint().vocab &&
        std::find(ids.begin(), ids.end(), token) == ids.end())
      ids.push_back(token);
  };
  for (const int64_t id : model.decoder->blueprint().eos) add(id);
  if (tokenizer != nullptr && tokenizer->eos()) add(*tokenizer->eos());
  const std::string path = join_path(model.directory, "generation_config.json");
  if (!exists(path)) return ids;
  const Json config = read_json(path);
  if (!config.is_object() || !config.contains("eos_token_id")) return ids;
  const Json& eos = config["eos_token_id"];
  for (const Json& id : eos.is_array() ? eos : Json::array({eos}))
    if (id.is_number_integer()) add(id.get<int64_t>());
  return ids;
}

EngineOptions resolve(const Device& device, const Model& model, EngineOptions options) {
  const Blueprint& b = model.decoder->blueprint();
  if (options.max_context > b.max_positions)
    throw UserError(
        "max_context",
        cat("is ", options.max_context, ", the model has ", b.max_positions, " positions"),
        cat("use at most ", b.max_positions));
  if (options.max_context == 0) options.max_context = b.max_positions;
  KvNeeds needs;
  needs.block_bytes = kv_block_bytes(b, model.options.compute, options.block_tokens);
  needs.block_tokens = options.block_tokens;
  needs.max_context = options.max_context;
  needs.max_sequences = options.max_sequences;
  options.kv_bytes = plan_kv_bytes(needs, options.kv_bytes, machine_memory().available);
  return options;
}

}  // namespace

struct Engine::Impl {
  EngineOptions options;
  std::shared_ptr<const Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  SchedulerOptions limits;
  std::unique_ptr<Executor> executor;
  std::unique_ptr<Scheduler> scheduler;  // of the engine thread once it runs

  mutable std::mutex mutex;
  std::condition_variable work, quiet;
  // Below: under the mutex.
  std::vector<Request> inbox;
  std::vector<uint64_t> cancels;
  int64_t inbox_tokens = 0, queued_requests = 0, queued_tokens = 0, rejected = 0;
  EngineStats stats;
  bool started = false, busy = false, draining = false, stopping = false, healthy = true;
  std::thread thread;

  void loop();
  bool take_inbox(std::unique_lock<std::mutex>& lock);
  void publish();
  void refuse(Request& request, FinishReason reason, const std::string& why);
  void fail(const std::string& why);
  void close();
};

Engine::Engine(const Device& device, std::shared_ptr<const Model> model,
               std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options)
    : impl_(std::make_unique<Impl>()) {
  Impl& e = *impl_;
  e.options = resolve(device, *model, options);
  e.model = std::move(model);
  e.tokenizer = std::move(tokenizer);
  const Blueprint& b = e.model->decoder->blueprint();
  const int64_t blocks =
      e.options.kv_bytes / kv_block_bytes(b, e.model->options.compute, e.options.block_tokens);
  SchedulerOptions& s = e.limits;
  s.blocks = blocks - 1;
  s.block_tokens = e.options.block_tokens;
  s.max_context = e.options.max_context;
  s.max_batch_tokens = e.options.max_batch_tokens;
  s.max_sequences = e.options.max_sequences;
  s.max_queued_requests = e.options.max_queued_requests;
  s.max_queued_tokens = e.options.max_queued_tokens;
  s.max_scored_rows = std::max<int64_t>(1, kScoredBytes / (b.vocab * 4));
  s.seed = e.options.seed;
  if (length_rule(b.ropes[0]) == RopeLength::by_text)
    s.recompute_past = b.ropes[0].original_positions;
  s.eos = end_tokens(*e.model, e.tokenizer.get());
  s.tokenizer = e.tokenizer;
  e.executor = std::make_unique<LocalExecutor>(device, e.model, blocks, e.options.block_tokens);
  s.score = [executor = e.executor.get()](const StepOutput& output,
                                          std::span<const int32_t> labels) {
    return executor->score(output, labels);
  };
  s.spread = [pool = &device.stream().pool()](int64_t n, const std::function<void(int64_t)>& body) {
    pool->run(n, body);
  };
  e.scheduler = std::make_unique<Scheduler>(s);
  e.publish();
}

Engine::~Engine() { stop(); }

void Engine::start() {
  Impl& e = *impl_;
  const std::lock_guard<std::mutex> lock(e.mutex);
  check(!e.started && !e.stopping, "the engine was started before");
  e.started = e.busy = true;
  e.thread = std::thread([&e] { e.loop(); });
}

Admit Engine::submit(Request request) {
  Impl& e = *impl_;
  const int64_t vocab = e.model->decoder->blueprint().vocab;
  check(!request.prompt.empty(), "a request without a prompt");
  for (const int32_t id : request.prompt)
    check(0 <= id && id < vocab, cat("token id ", id, " is outside the vocabulary of ", vocab));
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const std::lock_guard<std::mutex> lock(e.mutex);
  Admit verdict = Admit::draining;
  if (!e.draining && !e.stopping && e.healthy)
    verdict = judge(e.limits, e.queued_requests + static_cast<int64_t>(e.inbox.size()),
                    e.queued_tokens + e.inbox_tokens, prompt);
  if (verdict != Admit::accepted) {
    ++e.rejected;
    return verdict;
  }
  e.inbox.push_back(std::move(request));
  e.inbox_tokens += prompt;
  e.work.notify_one();
  return verdict;
}

void Engine::cancel(uint64_t request) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->cancels.push_back(request);
  impl_->work.notify_one();
}

// Waits for work; false when the thread should end. Requests enter before cancellations, so that
// one that was cancelled at once is found.
bool Engine::Impl::take_inbox(std::unique_lock<std::mutex>& lock) {
  if (scheduler->idle() && inbox.empty() && cancels.empty() && !stopping) {
    busy = false;
    quiet.notify_all();
    work.wait(lock, [&] { return !inbox.empty() || !cancels.empty() || stopping; });
    busy = true;
  }
  std::vector<Request> requests = std::exchange(inbox, {});
  const std::vector<uint64_t> cancelled = std::exchange(cancels, {});
  // What leaves the inbox counts as queued until the next publish(), so that the limits hold while
  // the lock is open.
  queued_requests += static_cast<int64_t>(requests.size());
  queued_tokens += std::exchange(inbox_tokens, 0);
  const bool ends = stopping;
  lock.unlock();
  for (Request& request : requests) {
    const uint64_t id = request.id;
    auto on_event = request.on_event;
    try {
      check(scheduler->submit(std::move(request)) == Admit::accepted, "a request judged twice");
    } catch (const std::exception& failure) {
      Request broken;
      broken.id = id;
      broken.on_event = std::move(on_event);
      refuse(broken, FinishReason::failed, failure.what());
    }
  }
  for (const uint64_t id : cancelled) scheduler->cancel(id);
  return !ends;
}

void Engine::Impl::refuse(Request& request, FinishReason reason, const std::string& why) {
  if (!request.on_event) return;
  Event event;
  event.request = request.id;
  event.finish = reason;
  event.error = why;
  event.prompt_tokens = static_cast<int64_t>(request.prompt.size());
  try {
    request.on_event(std::move(event));
  } catch (...) {
    // Its reader is gone: no one is left to tell.
  }
}

void Engine::Impl::publish() {
  const std::lock_guard<std::mutex> lock(mutex);
  stats = scheduler->stats();
  queued_requests = scheduler->queued_requests();
  queued_tokens = scheduler->queued_tokens();
}

void Engine::Impl::fail(const std::string& why) {
  log::error(cat("the engine failed: ", why));
  {
    const std::lock_guard<std::mutex> lock(mutex);
    healthy = false;
  }
  scheduler->fail_all(cat("the engine failed: ", why));
}

void Engine::Impl::loop() {
  try {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex);
      const bool goes_on = take_inbox(lock);
      if (!goes_on) break;
      const InputBatch batch = scheduler->next();
      if (!batch.empty()) scheduler->complete(executor->run(batch));
      publish();
    }
  } catch (const std::exception& failure) {
    fail(failure.what());
  }
  close();
}

// The last act of the engine, on its thread or, when it never started, on that of stop().
void Engine::Impl::close() {
  scheduler->cancel_all();
  std::vector<Request> left;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    left = std::exchange(inbox, {});
    inbox_tokens = 0;
  }
  for (Request& request : left)
    refuse(request, healthy ? FinishReason::cancelled : FinishReason::failed,
           healthy ? "" : "the engine failed");
  publish();
  const std::lock_guard<std::mutex> lock(mutex);
  busy = false;
  quiet.notify_all();
}

void Engine::drain() {
  Impl& e = *impl_;
  std::unique_lock<std::mutex> lock(e.mutex);
  e.draining = true;
  e.quiet.wait(lock, [&] { return !e.busy && (e.inbox.empty() || !e.started); });
}

void Engine::stop() {
  Impl& e = *impl_;
  {
    const std::lock_guard<std::mutex> lock(e.mutex);
    e.draining = e.stopping = true;
    e.work.notify_one();
  }
  if (e.thread.joinable()) {
    e.thread.join();
  } else {
    e.close();
  }
}

EngineStats Engine::stats() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  EngineStats s = impl_->stats;
  s.rejected += impl_->rejected;
  s.waiting += static_cast<int64_t>(impl_->inbox.size());
  return s;
}

int64_t Engine::max_context() const { return impl_->options.max_context; }
int64_t Engine::kv_bytes() const { return impl_->options.kv_bytes; }
const Model& Engine::model() const { return *impl_->model; }
const EngineOptions& Engine::options() const { return impl_->options; }

bool Engine::healthy() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->healthy;
}

}  // namespace nibble::serving
