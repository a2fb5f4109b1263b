// A file that no folder names: unlinked as soon as it is open, so that nothing is left behind
// however the process ends. What the disk refuses is the user's to mend: exit 74, naming the
// folder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace nibble {

class PageFile {
 public:
  // In `directory`; "": where temporary files go.
  explicit PageFile(std::string directory);
  ~PageFile();
  PageFile(const PageFile&) = delete;
  PageFile& operator=(const PageFile&) = delete;

  // One thread at a time.
  void read(int64_t at, void* into, int64_t bytes) const;
  void write(int64_t at, const void* from, int64_t bytes);
  // The first `bytes`, read-only; what is written later shows through.
  std::shared_ptr<const char> map(int64_t bytes) const;

 private:
  [[noreturn]] void refuse(const char* what, int error) const;
  std::string directory_;
  int fd_ = -1;
};

}  // namespace nibble
