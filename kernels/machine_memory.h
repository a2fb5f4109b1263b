// How much memory this process may have: what the kernel says is available, lowered by the limits
// of the container.
#pragma once

#include <cstdint>
#include <string>

namespace nibble {

struct MachineMemory {
  int64_t total = 0;      // bytes this process could ever have
  int64_t available = 0;  // bytes it could have now, caches that can be dropped included
};

// Reads /proc/meminfo, /proc/self/cgroup and /sys/fs/cgroup below `root` (a test's own tree, or
// "").
MachineMemory machine_memory(const std::string& root = "");

}  // namespace nibble
