// Containers limit time, not processors: the quota over the period says how many run at once.
#include "base/cpus.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "base/text.h"
#include "base/thread_pool.h"

namespace nibble {
namespace {

// Files below /sys have no size to trust: they are read to their end. Missing: empty.
std::string contents(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

double number(std::string_view text) {
  text = trim(text);
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

int rounded_up(double quota, double period) {
  if (quota <= 0 || period <= 0) return 0;
  const auto whole = static_cast<int>(quota / period);
  return std::max(1, whole < quota / period ? whole + 1 : whole);
}

int smaller_limit(int a, int b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

int group_limit(const std::string& folder, bool version2) {
  if (!version2) {
    return rounded_up(number(contents(folder + "/cpu.cfs_quota_us")),
                      number(contents(folder + "/cpu.cfs_period_us")));
  }
  const std::string text = contents(folder + "/cpu.max");  // "150000 100000" or "max 100000"
  const std::vector<std::string> words = split(trim(text), ' ');
  if (words.size() != 2 || words[0] == "max") return 0;
  return rounded_up(number(words[0]), number(words[1]));
}

int affinity_cpus() {
  // The kernel refuses masks smaller than its own: grow until it is content.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(cpus));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cpus));
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    const int count = known ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (known) return count;
  }
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int quota_cpus(std::string_view memberships, const std::string& root) {
  int limit = 0;
  for (const std::string& line : split(memberships, '\n')) {  // "0::/user.slice/job"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool version2 = controllers.empty();
    const std::vector<std::string> names = split(controllers, ',');
    if (!version2 && std::find(names.begin(), names.end(), "cpu") == names.end()) continue;
    std::string base = root;
    if (!version2)
      base += contents(root + "/cpu/cpu.cfs_quota_us").empty() ? "/" + controllers : "/cpu";
    std::string group = line.substr(second + 1);
    // Inside a container the group may lie above the mount: then only the root is there to read.
    for (;;) {
      limit = smaller_limit(limit, group_limit(base + group, version2));
      const size_t slash = group.rfind('/');
      if (slash == std::string::npos || group == "/") break;
      group.resize(slash);
    }
    limit = smaller_limit(limit, group_limit(base, version2));
  }
  return limit;
}

int openmp_threads(const char* value) {
  if (value == nullptr) return 0;
  const std::string_view text = trim(std::string_view(value));
  int threads = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), threads);
  const bool ends_well = end.ptr == text.data() + text.size() || *end.ptr == ',';
  return end.ec == std::errc() && ends_well && threads > 0 ? std::min(threads, 4096) : 0;
}

int usable_cpus() {
  const int quota = quota_cpus(contents("/proc/self/cgroup"), "/sys/fs/cgroup");
  return std::max(1, smaller_limit(affinity_cpus(), quota));
}

int default_threads() {
  return std::max(1, smaller_limit(usable_cpus(), openmp_threads(std::getenv("OMP_NUM_THREADS"))));
}

}  // namespace nibble
