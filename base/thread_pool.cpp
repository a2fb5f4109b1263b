// Workers spin a moment for the next region, because the rows of a layer follow each other within
// microseconds, and then sleep. Part p always runs on thread p % size: nothing is stolen.
#include "base/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/cpus.h"

namespace nibble {
namespace {

constexpr int kSpins = 2000;  // some 20 to 60 microseconds, about what waking a thread costs

// Whether this thread is inside a region: nested calls run where they are.
thread_local bool t_inside = false;

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

template <class Ready>
bool spun_until(const Ready& ready) {
  for (int i = 0; i < kSpins; ++i) {
    if (ready()) return true;
    pause_cpu();
  }
  return false;
}

struct Inside {
  Inside() { t_inside = true; }
  ~Inside() { t_inside = false; }
};

}  // namespace

struct ThreadPool::Impl {
  int size = 1;
  std::mutex region;  // held by the caller whose region runs

  // The region: written by the caller before `generation` counts up, read by workers after.
  int64_t parts = 0;
  void (*call)(void*, int64_t) = nullptr;
  void* body = nullptr;

  std::atomic<uint64_t> generation{0};
  std::atomic<int> sleepers{0};   // workers asleep, or about to be
  std::atomic<int> remaining{0};  // workers that have not finished the region
  std::atomic<bool> caller_sleeps{false}, stop{false};
  std::mutex mutex;  // of both conditions and of the failure
  std::condition_variable wake, finished;
  std::exception_ptr failure;
  int64_t failed_part = 0;
  std::vector<std::thread> workers;

  // The failure of the lowest part wins, so that the message does not depend on the timing.
  void run_share(int thread) {
    const Inside inside;
    for (int64_t part = thread; part < parts; part += size) {
      try {
        call(body, part);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure || part < failed_part) {
          failure = std::current_exception();
          failed_part = part;
        }
      }
    }
  }

  void await_generation(uint64_t seen) {
    const auto ready = [&] { return generation.load() != seen || stop.load(); };
    if (spun_until(ready)) return;
    std::unique_lock lock(mutex);
    // Sequentially consistent on both sides: either this thread sees the new generation, or the
    // caller, who counts up first and looks second, sees the sleeper.
    sleepers.fetch_add(1);
    wake.wait(lock, ready);
    sleepers.fetch_sub(1);
  }

  void work(int thread) {
    uint64_t seen = 0;
    for (;;) {
      await_generation(seen);
      if (stop.load()) return;
      ++seen;
      run_share(thread);
      if (remaining.fetch_sub(1) == 1 && caller_sleeps.load()) {
        const std::lock_guard lock(mutex);
        finished.notify_one();
      }
    }
  }

  void await_workers() {
    const auto ready = [&] { return remaining.load() == 0; };
    if (spun_until(ready)) return;
    std::unique_lock lock(mutex);
    caller_sleeps.store(true);
    finished.wait(lock, ready);
    caller_sleeps.store(false);
  }
};

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
  impl_->size = threads > 0 ? threads : default_threads();
  try {
    for (int i = 1; i < impl_->size; ++i) {
      impl_->workers.emplace_back([impl = impl_.get(), i] { impl->work(i); });
    }
  } catch (const std::exception&) {
    // The system gives no more threads. No region has run yet, so fewer workers are as good.
    impl_->size = static_cast<int>(impl_->workers.size()) + 1;
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop.store(true);
  }
  impl_->wake.notify_all();
  for (std::thread& worker : impl_->workers) worker.join();
}

int ThreadPool::size() const { return impl_->size; }

void ThreadPool::run_parts(int64_t parts, void (*call)(void*, int64_t), void* body) {
  if (t_inside) {
    for (int64_t part = 0; part < parts; ++part) call(body, part);
    return;
  }
  Impl& s = *impl_;
  const std::lock_guard region(s.region);
  if (parts <= 1 || s.size == 1) {
    const Inside inside;
    for (int64_t part = 0; part < parts; ++part) call(body, part);
    return;
  }
  s.parts = parts;
  s.call = call;
  s.body = body;
  s.remaining.store(s.size - 1);
  s.generation.fetch_add(1);
  if (s.sleepers.load() > 0) {
    // A sleeper that counted itself holds the mutex until it truly waits.
    { const std::lock_guard lock(s.mutex); }
    s.wake.notify_all();
  }
  s.run_share(0);
  s.await_workers();
  if (s.failure) std::rethrow_exception(std::exchange(s.failure, nullptr));
}

}  // namespace nibble
