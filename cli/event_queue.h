// Events of a running engine, handed from its thread to the one that prints. The queue outlives the
// engine that writes to it.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "serving/request.h"

namespace nibble {

class EventQueue {
 public:
  void push(serving::Event&& event) {
    const std::lock_guard<std::mutex> lock(mutex_);
    events_.push_back(std::move(event));
    arrived_.notify_one();
  }
  serving::Event wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    arrived_.wait(lock, [this] { return !events_.empty(); });
    serving::Event event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<serving::Event> events_;
};

}  // namespace nibble
