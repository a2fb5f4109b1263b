// Reading, and the file that is whole or absent: temporary name, write, fsync, rename, fsync of the
// folder. What a failing call says becomes a mistake that names the path and the cause.
#include "base/files.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/fault.h"
#include "base/temporary.h"
#include "base/text.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPiece = size_t{1} << 20;

[[noreturn]] void fail_open(const std::string& path) {
  const int cause = errno;
  if (cause == ENOENT || cause == ENOTDIR) {
    throw UserError(path, "there is no such file", "", Exit::missing_input);
  }
  throw UserError(path, cat("cannot be read: ", system_message(cause)), "", Exit::io);
}

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

// Bytes read, 0 at the end; throws.
size_t read_some(int fd, void* out, size_t bytes, const std::string& path) {
  for (;;) {
    const ssize_t got = ::read(fd, out, bytes);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno == EINTR) continue;
    if (errno == EISDIR) {
      throw UserError(path, "is a folder, not a file", "", Exit::missing_input);
    }
    throw UserError(path, cat("cannot be read: ", system_message(errno)), "", Exit::io);
  }
}

std::string hex128(XXH128_hash_t hash) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : bytes.digest) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

}  // namespace

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool is_directory(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string read_file(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail_open(path);
  struct stat info {};
  std::string out;
  // The size is a hint only: pipes and files of the kernel say 0.
  if (fstat(file.fd, &info) == 0 && S_ISREG(info.st_mode)) {
    out.reserve(static_cast<size_t>(info.st_size) + 1);
  }
  for (;;) {
    const size_t begin = out.size();
    out.resize(std::max(out.capacity(), begin + 4096));
    const size_t got = read_some(file.fd, out.data() + begin, out.size() - begin, path);
    out.resize(begin + got);
    if (got == 0) return out;
  }
}

void make_directories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || !is_directory(path)) {
    const int cause = error ? error.value() : ENOTDIR;
    throw_cannot_create(path, cause);
  }
}

std::vector<std::string> list_directory(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  fs::directory_iterator it(path, error);
  while (!error && it != fs::directory_iterator()) {
    names.push_back(it->path().filename().string());
    it.increment(error);
  }
  if (error) {
    const bool missing = error.value() == ENOENT || error.value() == ENOTDIR;
    throw UserError(path,
                    missing ? "there is no such folder"
                            : cat("cannot be read: ", system_message(error.value())),
                    "", missing ? Exit::missing_input : Exit::io);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string base_name(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path.empty() ? "" : "/";
  const size_t slash = path.rfind('/', end);
  const size_t begin = slash == std::string::npos ? 0 : slash + 1;
  return path.substr(begin, end + 1 - begin);
}

std::string join_path(std::string_view folder, std::string_view name) {
  if (folder.empty() || starts_with(name, "/")) return std::string(name);
  return ends_with(folder, "/") ? cat(folder, name) : cat(folder, "/", name);
}

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const fs::path full = fs::absolute(path, error);
  return error ? path : full.lexically_normal().string();
}

InputFile::InputFile(const std::string& path) : path_(path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail_open(path);
  struct stat info {};
  if (fstat(file.fd, &info) != 0) fail_open(path);
  if (!S_ISREG(info.st_mode)) {
    throw UserError(path, S_ISDIR(info.st_mode) ? "is a folder, not a file" : "is no regular file",
                    "", Exit::missing_input);
  }
  size_ = info.st_size;
  fd_ = std::exchange(file.fd, -1);
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(std::exchange(other.size_, 0)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

void InputFile::read(int64_t offset, void* out, int64_t bytes) const {
  check(offset >= 0 && bytes >= 0, "InputFile::read: negative offset or size");
  auto* to = static_cast<char*>(out);
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::pread(fd_, to + done, static_cast<size_t>(bytes - done),
                                static_cast<off_t>(offset + done));
    if (got > 0) {
      done += got;
    } else if (got == 0) {
      throw UserError(path_,
                      cat("ends at byte ", offset + done, ", ", bytes - done, " bytes are missing"),
                      "the file is truncated; fetch it again", Exit::bad_data);
    } else if (errno != EINTR) {
      throw UserError(path_, cat("cannot be read: ", system_message(errno)), "", Exit::io);
    }
  }
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  struct stat info {};
  if (::stat(path_.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    if (S_ISDIR(info.st_mode)) throw_cannot_create(path_, EISDIR);
    fd_ = faulty_open(path_, O_WRONLY, 0);  // /dev/stdout must not be replaced by a file
    if (fd_ < 0) throw_cannot_create(path_, errno);
    return;
  }
  // A link keeps pointing where it points: its target is what gets replaced.
  std::array<char, PATH_MAX> resolved;
  if (::realpath(path_.c_str(), resolved.data()) != nullptr) path_ = resolved.data();
  temporary_ = temporary_name(path_);
  fd_ = faulty_open(temporary_, O_WRONLY | O_CREAT | O_EXCL, 0666);
  if (fd_ < 0) throw_cannot_create(path_, errno);
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!done_ && !temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::write(const void* data, int64_t bytes) {
  check(fd_ >= 0, "OutputFile: written after commit");
  const char* from = static_cast<const char*>(data);
  int64_t left = bytes;
  while (left > 0) {
    const ssize_t put = faulty_write(fd_, from, std::min(static_cast<size_t>(left), kPiece * 64));
    if (put < 0) throw_cannot_write(path_, errno, left);
    from += put;
    left -= put;
  }
}

void OutputFile::rewrite(int64_t offset, std::string_view text) {
  check(fd_ >= 0, "OutputFile: written after commit");
  const off_t end = ::lseek(fd_, 0, SEEK_CUR);
  if (end < 0 || ::lseek(fd_, offset, SEEK_SET) < 0)
    throw_cannot_write(path_, errno, static_cast<int64_t>(text.size()));
  check(offset + static_cast<int64_t>(text.size()) <= end, "OutputFile: rewrites what is there");
  write(text);
  if (::lseek(fd_, end, SEEK_SET) < 0) throw_cannot_write(path_, errno, 0);
}

void OutputFile::commit() {
  check(fd_ >= 0 && !done_, "OutputFile: committed twice");
  if (!temporary_.empty() && faulty_fsync(fd_) != 0) throw_cannot_write(path_, errno);
  if (::close(std::exchange(fd_, -1)) != 0) throw_cannot_write(path_, errno);
  if (!temporary_.empty()) {
    if (faulty_rename(temporary_, path_) != 0) throw_cannot_write(path_, errno);
    done_ = true;
    sync_folder(parent_folder(path_));
  }
  done_ = true;
}

void write_file(const std::string& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

std::string hash128_hex(std::span<const std::byte> bytes) {
  return hex128(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string hash128_file(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail_open(path);
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(),
                                                                              XXH3_freeState);
  check(state != nullptr && XXH3_128bits_reset(state.get()) == XXH_OK, "XXH3: no state");
  std::vector<char> piece(kPiece);
  for (;;) {
    const size_t got = read_some(file.fd, piece.data(), piece.size(), path);
    if (got == 0) return hex128(XXH3_128bits_digest(state.get()));
    XXH3_128bits_update(state.get(), piece.data(), got);
  }
}

uint64_t hash64(std::string_view bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace nibble
