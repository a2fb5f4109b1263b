// How many processors this process may use: the affinity mask, the cgroup quota of a container and
// OMP_NUM_THREADS each lower the number.
#pragma once

#include <string>
#include <string_view>

namespace nibble {

// Processors a cgroup quota allows, rounded up; 0 when there is none. `memberships` is the text of
// /proc/self/cgroup, `root` the mount point (/sys/fs/cgroup). Reads version 2 (cpu.max) and
// version 1 (cpu.cfs_quota_us), at the group and at every parent.
int quota_cpus(std::string_view memberships, const std::string& root);

// OMP_NUM_THREADS as OpenMP writes it ("8" or "8,2": the first level counts); 0 when it says
// nothing usable.
int openmp_threads(const char* value);

int default_threads();  // what a pool takes when nobody says: at least 1

}  // namespace nibble
