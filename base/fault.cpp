// One fault at a time is enough: a save that survives each single failure is tested point by point.
#include "base/fault.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "base/errors.h"
#include "base/files.h"
#include "base/text.h"

namespace nibble {
namespace {

enum class Call { open, write, fsync, rename };
constexpr std::array<std::string_view, 4> kCalls = {"open", "write", "fsync", "rename"};

constexpr int kShort = -1;
constexpr int kKill = -2;
constexpr std::array<std::pair<std::string_view, int>, 12> kFailures = {{{"ENOSPC", ENOSPC},
                                                                         {"EIO", EIO},
                                                                         {"EINTR", EINTR},
                                                                         {"EDQUOT", EDQUOT},
                                                                         {"EACCES", EACCES},
                                                                         {"EROFS", EROFS},
                                                                         {"EMFILE", EMFILE},
                                                                         {"ENOENT", ENOENT},
                                                                         {"EXDEV", EXDEV},
                                                                         {"EINVAL", EINVAL},
                                                                         {"SHORT", kShort},
                                                                         {"KILL", kKill}}};

struct Fault {
  std::mutex mutex;
  bool armed = false;
  Call call = Call::write;
  int64_t at = 0;  // 0: every call
  int failure = 0;
  std::array<int64_t, kCalls.size()> seen{};

  Fault() {
    const char* spec = std::getenv("NIBBLE_FAULT");
    if (spec != nullptr && *spec != 0) arm(spec);
  }

  void arm(std::string_view spec) {
    armed = false;
    seen = {};
    if (spec.empty()) return;
    const std::vector<std::string> words = split(spec, ':');
    int64_t count = -1;
    bool known_call = false, known_failure = false;
    if (words.size() == 3) {
      const std::string& digits = words[1];
      const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), count);
      if (end.ptr != digits.data() + digits.size()) count = -1;
      for (size_t i = 0; i < kCalls.size(); ++i) {
        if (kCalls[i] != words[0]) continue;
        call = static_cast<Call>(i);
        known_call = true;
      }
      for (const auto& [name, number] : kFailures) {
        if (name != words[2]) continue;
        failure = number;
        known_failure = true;
      }
    }
    if (!known_call || !known_failure || count < 0) {
      throw UserError("NIBBLE_FAULT", cat("'", spec, "' is no fault"),
                      "write it as write:17:ENOSPC (open, write, fsync or rename)");
    }
    at = count;
    armed = true;
  }

  // 0: go on; an errno; or kShort.
  int next(Call which) {
    const std::lock_guard lock(mutex);
    const int64_t count = ++seen[static_cast<size_t>(which)];
    if (!armed || which != call || (at != 0 && at != count)) return 0;
    if (failure == kKill) std::raise(SIGKILL);
    return failure;
  }
};

Fault& fault() {
  static Fault the_fault;
  return the_fault;
}

// Whether the call fails by request; then errno says how.
bool fails(Call which) {
  const int failure = fault().next(which);
  if (failure <= 0) return false;
  errno = failure;
  return true;
}

constexpr int kRetries = 100;  // of an interrupted call; a signal storm ends as an error

}  // namespace

void set_fault(std::string_view spec) {
  Fault& f = fault();
  const std::lock_guard lock(f.mutex);
  f.arm(spec);
}

int faulty_open(const std::string& path, int flags, mode_t mode) {
  int fd = -1;
  for (int i = 0; i < kRetries; ++i) {
    fd = fails(Call::open) ? -1 : ::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0 || errno != EINTR) break;
  }
  return fd;
}

ssize_t faulty_write(int fd, const void* data, size_t bytes) {
  ssize_t written = -1;
  for (int i = 0; i < kRetries; ++i) {
    const int failure = fault().next(Call::write);
    if (failure > 0) {
      errno = failure;
    } else {
      written = ::write(fd, data, failure == kShort && bytes > 1 ? bytes - 1 : bytes);
    }
    if (written >= 0 || errno != EINTR) break;
  }
  return written;
}

int faulty_fsync(int fd) { return fails(Call::fsync) ? -1 : ::fsync(fd); }

int faulty_rename(const std::string& from, const std::string& to) {
  return fails(Call::rename) ? -1 : ::rename(from.c_str(), to.c_str());
}

int faulty_exchange(const std::string& a, const std::string& b) {
  if (fails(Call::rename)) return -1;
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
}

}  // namespace nibble
