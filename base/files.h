// Files that are whole or absent. Every write goes to a temporary name, is flushed to the disk and
// renamed; a folder with its final name is complete and carries a manifest of sizes and checksums.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"

namespace nibble {

// Faults for tests: NIBBLE_FAULT=write:17:ENOSPC fails the 17th write call of the process
// (open, write, fsync, rename; a count of 0 fails every call). Instead of an errno name, SHORT
// writes one byte less than asked and KILL ends the process as SIGKILL does. "" clears the fault;
// setting one counts anew.
void set_fault(std::string_view spec);

bool exists(const std::string& path);
bool is_directory(const std::string& path);
std::string read_file(const std::string& path);  // missing: exit 66; unreadable: exit 74
void make_directories(const std::string& path);  // cannot: exit 73
std::vector<std::string> list_directory(const std::string& path);  // names, sorted
std::string base_name(const std::string& path);
std::string join_path(std::string_view folder, std::string_view name);
std::string absolute_path(const std::string& path);

// A file read in pieces (`pread`): for tensors that are converted and not kept.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(InputFile&&) noexcept;
  InputFile& operator=(InputFile&&) noexcept;
  int64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  void read(int64_t offset, void* out, int64_t bytes) const;  // short file: UserError exit 65

 private:
  std::string path_;
  int fd_ = -1;
  int64_t size_ = 0;
};

// Writes a file under a temporary name; commit() makes it durable and gives it its name. Without
// commit nothing is left behind.
class OutputFile {
 public:
  explicit OutputFile(std::string path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  void write(const void* data, int64_t bytes);
  void write(std::string_view text) { write(text.data(), static_cast<int64_t>(text.size())); }
  // Replaces bytes written before: for a header that is known last.
  void rewrite(int64_t offset, std::string_view text);
  void commit();

 private:
  std::string path_, temporary_;  // no temporary: path_ is a device or a pipe, written at once
  int fd_ = -1;
  bool done_ = false;
};
void write_file(const std::string& path, std::string_view text);  // atomically

// A folder built beside its final name. commit() writes manifest.json (size and XXH3-128 of every
// file), flushes all and renames; an existing folder of that name is an error unless `replace`.
class OutputDirectory {
 public:
  explicit OutputDirectory(std::string path, bool replace = false);
  ~OutputDirectory();  // removes what was not committed
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;
  std::string file(std::string_view name) const;  // path inside the temporary folder
  const std::string& folder() const { return temporary_; }
  void commit();

 private:
  std::string path_, temporary_;
  bool replace_, done_ = false;
};

// Verifies every file of a folder against its manifest; throws UserError (exit 65) naming the file.
void verify_directory(const std::string& path);
bool has_manifest(const std::string& path);
void remove_tree(const std::string& path);
// Deletes what processes of this machine that are gone left behind in `folder` (names that begin
// with ".tmp-"). Returns how many.
int remove_leftovers(const std::string& folder);

std::string hash128_hex(std::span<const std::byte> bytes);  // XXH3-128
std::string hash128_file(const std::string& path);
uint64_t hash64(std::string_view bytes, uint64_t seed = 0);  // XXH3-64

}  // namespace nibble
