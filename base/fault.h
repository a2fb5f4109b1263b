// The system calls that change a disk, each counted and able to fail on request (NIBBLE_FAULT), so
// that tests can walk through every point at which a save can break.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

namespace nibble {

// As the calls of the same names; EINTR is retried, except that fsync is never tried twice: after
// a failed one the kernel may have dropped the pages and would report success.
int faulty_open(const std::string& path, int flags, mode_t mode);
ssize_t faulty_write(int fd, const void* data, size_t bytes);
int faulty_fsync(int fd);
int faulty_rename(const std::string& from, const std::string& to);
// Swaps two names in one step; fails with ENOSYS or EINVAL where the file system cannot.
int faulty_exchange(const std::string& a, const std::string& b);

}  // namespace nibble
