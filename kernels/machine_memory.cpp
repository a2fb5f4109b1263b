// A container's limit is not in /proc/meminfo: the group's and every parent's own files hold it
// (version 2: memory.max; version 1: memory.limit_in_bytes).
#include "kernels/machine_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>

#include "base/text.h"

namespace nibble {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// Files below /proc and /sys have no size to trust: they are read to their end. Missing: empty.
std::string contents(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

int64_t number(std::string_view text, int64_t otherwise) {
  text = trim(text);
  int64_t value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  return end.ec == std::errc() ? value : otherwise;
}

// The number behind `key` in lines of "key value" or "key: value kB".
int64_t field(const std::string& text, std::string_view key) {
  for (const std::string& line : split(text, '\n')) {
    if (!starts_with(line, key) || line.size() == key.size()) continue;
    const char next = line[key.size()];
    if (next == ':' || next == ' ') return number(std::string_view(line).substr(key.size() + 1), 0);
  }
  return 0;
}

struct Group {
  const char* limit;
  const char* usage;
  const char* droppable;  // in memory.stat: file pages that a squeeze would free
};
constexpr Group kVersion1 = {"/memory.limit_in_bytes", "/memory.usage_in_bytes",
                             "total_inactive_file"};
constexpr Group kVersion2 = {"/memory.max", "/memory.current", "inactive_file"};

void lower_by_group(const std::string& folder, const Group& names, MachineMemory& memory) {
  const int64_t limit = number(contents(folder + names.limit), kNoLimit);  // "max": no number
  if (limit >= memory.total && limit >= memory.available) return;
  const int64_t used = number(contents(folder + names.usage), 0);
  const int64_t droppable = field(contents(folder + "/memory.stat"), names.droppable);
  memory.total = std::min(memory.total, limit);
  memory.available = std::min(memory.available,
                              std::max<int64_t>(0, limit - std::max<int64_t>(0, used - droppable)));
}

}  // namespace

MachineMemory machine_memory(const std::string& root) {
  const std::string info = contents(root + "/proc/meminfo");
  MachineMemory memory{field(info, "MemTotal") * 1024, field(info, "MemAvailable") * 1024};
  if (memory.total == 0) return {kNoLimit, kNoLimit};
  for (const std::string& line : split(contents(root + "/proc/self/cgroup"), '\n')) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && controllers != "memory") continue;
    const Group& names = controllers.empty() ? kVersion2 : kVersion1;
    const std::string base = root + "/sys/fs/cgroup" + (controllers.empty() ? "" : "/memory");
    // Inside a container the group may lie above the mount: then only the root is there to read.
    std::string group = line.substr(second + 1);
    while (group.size() > 1) {
      lower_by_group(base + group, names, memory);
      group.resize(group.rfind('/'));
    }
    lower_by_group(base, names, memory);
  }
  return memory;
}

}  // namespace nibble
