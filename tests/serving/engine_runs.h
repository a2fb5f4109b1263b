// Runs requests through a real engine and gathers what each was told.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <vector>

#include "serving/engine.h"
#include "tests/serving/scripted_executor.h"

namespace nibble::testing {

// Hears events of many requests on the engine's thread; others wait for the ends.
class Audience {
 public:
  std::function<void(Event&&)> seat(uint64_t id) {
    return [this, id](Event&& e) {
      const std::lock_guard<std::mutex> lock(mutex_);
      const bool last = e.finish != serving::FinishReason::none;
      told_[id].hear(std::move(e));
      if (last) ++ends_;
      changed_.notify_all();
    };
  }
  void wait_for_ends(int n) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return ends_ >= n; });
  }
  void wait_for_events(uint64_t id, int n) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return told_[id].events >= n; });
  }
  std::map<uint64_t, Told> told() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return told_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, Told> told_;
  int ends_ = 0;
};

// All requests at once through one engine, to the end.
inline std::map<uint64_t, Told> run_all(const Device& device, std::shared_ptr<const Model> model,
                                        const serving::EngineOptions& options,
                                        std::vector<Request> requests,
                                        serving::EngineStats* stats = nullptr,
                                        std::shared_ptr<const Tokenizer> tokenizer = nullptr) {
  Audience audience;
  serving::Engine engine(device, std::move(model), std::move(tokenizer), options);
  for (Request& r : requests) {
    r.on_event = audience.seat(r.id);
    EXPECT_EQ(engine.submit(std::move(r)), serving::Admit::accepted);
  }
  engine.start();
  engine.drain();
  EXPECT_TRUE(engine.healthy());
  const serving::EngineStats s = engine.stats();
  EXPECT_EQ(s.blocks_used, 0);
  EXPECT_EQ(s.accepted, s.finished_stop + s.finished_length + s.cancelled + s.failed);
  if (stats != nullptr) *stats = s;
  return audience.told();
}

}  // namespace nibble::testing
