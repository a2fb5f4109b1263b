// A folder for the files of one tokenizer, gone when the test ends.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "base/text.h"

namespace nibble::testing {

class TokenizerFolder {
 public:
  TokenizerFolder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "nibble-tokenizer-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TokenizerFolder() { std::filesystem::remove_all(path_); }
  TokenizerFolder(const TokenizerFolder&) = delete;
  TokenizerFolder& operator=(const TokenizerFolder&) = delete;

  void write(const std::string& file, const std::string& text) const {
    std::ofstream(path_ + "/" + file, std::ios::binary) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace nibble::testing
