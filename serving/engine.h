// The engine: one thread owns all scheduler state and calls all kernels. next → run → commit.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/text/tokenizer.h"
#include "serving/request.h"
#include "serving/stats.h"

namespace nibble::serving {

struct EngineOptions {
  int64_t kv_bytes = 0;            // 0: as planned from free memory, at least one full context
  int64_t max_context = 0;         // 0: the model's max_position_embeddings
  int64_t block_tokens = 16;       // a power of two
  int64_t max_batch_tokens = 512;  // token budget of a step
  int64_t max_sequences = 64;      // running at a time
  int64_t max_queued_requests = 256;
  int64_t max_queued_tokens = 1 << 20;
  uint64_t seed = 0;  // for requests without one
};

class Engine {
 public:
  // The tokenizer may be null: then requests are ids, events carry no text and stop strings are
  // refused before they get here. The KV blocks are allocated before the constructor returns;
  // OutOfMemory when one request of max_context does not fit, naming the longest that does.
  // Adapters are in the decoder's slots before. The device must outlive the engine.
  Engine(const Device& device, std::shared_ptr<const Model> model,
         std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options);
  ~Engine();

  void start();                   // begins the engine thread
  Admit submit(Request request);  // any thread; on anything but accepted nothing happens later
  void cancel(uint64_t request);  // any thread; blocks are back after the step in flight
  void drain();                   // refuses new work; returns when all work is finished
  void stop();                    // cancels all work and joins; again: nothing
  EngineStats stats() const;      // any thread
  int64_t max_context() const;
  int64_t kv_bytes() const;
  const Model& model() const;
  const EngineOptions& options() const;  // max_context and kv_bytes as resolved
  bool healthy() const;                  // false after the engine thread failed

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nibble::serving
