// A temporary name carries the machine and the process that writes it, so that a later start can
// tell what was left behind by a dead process from what another one is writing now.
#include "base/temporary.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "base/fault.h"
#include "base/files.h"
#include "base/text.h"

namespace nibble {
namespace {

constexpr std::string_view kMark = ".tmp-";
constexpr size_t kNameRoom = 160;  // of the final name; 255 bytes hold the whole

std::string machine_mark() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return cat(hash64(host.data()) % 1000000);
}

}  // namespace

std::string parent_folder(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path.empty() ? "." : "/";
  const size_t slash = path.rfind('/', end);
  if (slash == std::string::npos) return ".";
  const size_t stop = path.find_last_not_of('/', slash);
  return stop == std::string::npos ? "/" : path.substr(0, stop + 1);
}

std::string temporary_name(const std::string& path) {
  static std::atomic<uint64_t> count{0};
  const std::string name = base_name(path).substr(0, kNameRoom);
  return join_path(parent_folder(path),
                   cat(kMark, machine_mark(), "-", ::getpid(), "-", count.fetch_add(1), "-", name));
}

std::string system_message(int error) {
  std::string text = std::strerror(error);
  // "No space left on device" in the middle of a sentence; names such as "RPC" keep their case.
  if (text.size() > 1 && text[1] >= 'a' && text[1] <= 'z' && text[0] >= 'A' && text[0] <= 'Z') {
    text[0] = static_cast<char>(text[0] - 'A' + 'a');
  }
  return text;
}

void throw_cannot_create(const std::string& path, int error) {
  if (error == ENOSPC || error == EIO || error == EDQUOT) throw_cannot_write(path, error);
  throw UserError(path, cat("cannot be created: ", system_message(error)), "", Exit::cannot_create);
}

void throw_cannot_write(const std::string& path, int error, int64_t wanted) {
  std::string what = cat("cannot be written: ", system_message(error));
  std::string hint;
  if (error == ENOSPC || error == EDQUOT) {
    struct statvfs disk {};
    if (wanted >= 0) what += cat("; ", human_bytes(wanted), " were still to be written");
    if (::statvfs(parent_folder(path).c_str(), &disk) == 0) {
      const auto bytes = static_cast<int64_t>(disk.f_bavail * disk.f_frsize);
      what += cat("; ", human_bytes(bytes), " (", bytes, " bytes) are free");
    }
    hint = "make room or write to another disk; nothing is left under the final name";
  }
  throw UserError(path, std::move(what), std::move(hint), Exit::io);
}

void sync_folder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw_cannot_write(folder, errno);
  const int result = faulty_fsync(fd);
  const int error = errno;
  ::close(fd);
  if (result != 0 && error != EINVAL && error != ENOTSUP) throw_cannot_write(folder, error);
}

int remove_leftovers(const std::string& folder) {
  int removed = 0;
  const std::string own = cat(kMark, machine_mark(), "-");
  for (const std::string& name : list_directory(folder)) {
    if (!starts_with(name, own)) continue;
    int pid = 0;
    const auto end = std::from_chars(name.data() + own.size(), name.data() + name.size(), pid);
    if (end.ec != std::errc() || pid <= 0 || pid == ::getpid()) continue;
    if (::kill(pid, 0) == 0 || errno != ESRCH) continue;  // still alive, or not ours to ask
    remove_tree(join_path(folder, name));
    ++removed;
  }
  return removed;
}

}  // namespace nibble
