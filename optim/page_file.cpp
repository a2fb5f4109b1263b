// Writes go through the counted calls of base/fault, so that tests can fill the disk.
#include "optim/page_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "base/temporary.h"

namespace nibble {

PageFile::PageFile(std::string directory) : directory_(std::move(directory)) {
  if (directory_.empty()) {
    std::error_code none;
    directory_ = std::filesystem::temp_directory_path(none).string();
    if (none) directory_ = "/tmp";
  }
  const std::string name = temporary_name(join_path(directory_, "optimizer-pages"));
  fd_ = faulty_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd_ < 0) refuse("cannot hold the file of paged optimizer states", errno);
  ::unlink(name.c_str());
}

PageFile::~PageFile() { ::close(fd_); }

void PageFile::refuse(const char* what, int error) const {
  throw UserError(directory_, cat(what, ": ", system_message(error)),
                  "name a folder on a disk with room for the optimizer's states, or raise the "
                  "budget of what stays in memory",
                  Exit::io);
}

void PageFile::read(int64_t at, void* into, int64_t bytes) const {
  for (int64_t done = 0; done < bytes;) {
    const ssize_t got = ::pread(fd_, static_cast<char*>(into) + done,
                                static_cast<size_t>(bytes - done), static_cast<off_t>(at + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) refuse("cannot read paged optimizer states back", got < 0 ? errno : EIO);
    done += got;
  }
}

void PageFile::write(int64_t at, const void* from, int64_t bytes) {
  if (::lseek(fd_, static_cast<off_t>(at), SEEK_SET) < 0) {
    refuse("cannot write paged optimizer states", errno);
  }
  for (int64_t done = 0; done < bytes;) {
    const ssize_t put =
        faulty_write(fd_, static_cast<const char*>(from) + done, static_cast<size_t>(bytes - done));
    if (put <= 0) refuse("cannot write paged optimizer states", put < 0 ? errno : ENOSPC);
    done += put;
  }
}

std::shared_ptr<const char> PageFile::map(int64_t bytes) const {
  const auto size = static_cast<size_t>(bytes);
  void* start = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd_, 0);
  if (start == MAP_FAILED) refuse("cannot map paged optimizer states", errno);
  return {static_cast<const char*>(start),
          [size](const char* p) { ::munmap(const_cast<char*>(p), size); }};
}

}  // namespace nibble
