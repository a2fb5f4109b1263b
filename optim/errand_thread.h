// One thread that runs errands in the order in which they were given. The first that fails ends the
// rest: whoever waits hears of it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace nibble {

class ErrandThread {
 public:
  ErrandThread();
  ~ErrandThread();  // after what was given is done
  ErrandThread(const ErrandThread&) = delete;
  ErrandThread& operator=(const ErrandThread&) = delete;

  int64_t give(std::function<void()> errand);  // its number
  // Until it and all before it are done. Throws what one of them threw, from then on always.
  void wait(int64_t number);
  void wait_for_all();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  int64_t given_ = 0, done_ = 0;
  bool ending_ = false;
  std::exception_ptr failure_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nibble
