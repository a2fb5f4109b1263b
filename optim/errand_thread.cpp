// After a failure errands are counted as done without being run, so that nobody waits for ever.
#include "optim/errand_thread.h"

#include <utility>

namespace nibble {

ErrandThread::ErrandThread() : thread_([this] { run(); }) {}

ErrandThread::~ErrandThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

int64_t ErrandThread::give(std::function<void()> errand) {
  int64_t number;
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(errand));
    number = ++given_;
  }
  changed_.notify_all();
  return number;
}

void ErrandThread::wait(int64_t number) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done_ >= number; });
  if (failure_) std::rethrow_exception(failure_);
}

void ErrandThread::wait_for_all() {
  int64_t last;
  {
    const std::lock_guard lock(mutex_);
    last = given_;
  }
  wait(last);
}

void ErrandThread::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const std::function<void()> errand = std::move(waiting_.front());
    waiting_.pop_front();
    if (!failure_) {
      lock.unlock();
      std::exception_ptr failed;
      try {
        errand();
      } catch (...) {
        failed = std::current_exception();
      }
      lock.lock();
      failure_ = failed;
    }
    ++done_;
    changed_.notify_all();
  }
}

}  // namespace nibble
