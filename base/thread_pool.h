// One pool, one parallel region at a time. Work is split by a fixed partition of the outputs, never
// of a sum, so the number of threads cannot change a bit.
#pragma once

#include <cstdint>
#include <memory>

namespace nibble {

class ThreadPool {
 public:
  // threads 0: what the affinity mask, the cgroup quota and OMP_NUM_THREADS allow.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;
  // Calls body(part) for part in [0, parts), spread over the threads; returns when all are done. A
  // second caller waits for the region of the first. Nested calls run in the caller. An exception
  // of a part is rethrown here.
  template <class Body>
  void run(int64_t parts, const Body& body) {
    run_parts(
        parts, [](void* b, int64_t part) { (*static_cast<const Body*>(b))(part); },
        const_cast<Body*>(&body));
  }
  // Splits [0, n) into ranges of at least `grain` and calls body(begin, end).
  template <class Body>
  void parallel_for(int64_t n, int64_t grain, const Body& body) {
    if (n <= 0) return;
    int64_t parts = grain > 0 ? (n + grain - 1) / grain : size();
    if (parts > size()) parts = size();
    if (parts < 1) parts = 1;
    run(parts, [&](int64_t p) { body(n * p / parts, n * (p + 1) / parts); });
  }

 private:
  void run_parts(int64_t parts, void (*call)(void*, int64_t), void* body);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

int usable_cpus();  // affinity mask and cgroup quota, at least 1

}  // namespace nibble
