// Which characters NFC leaves as they are whatever stands before them: text between two of them is
// normalized by itself, and most text needs nothing done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace nibble::text {

class QuietCharacters {
 public:
  static const QuietCharacters& get();
  bool has(uint32_t code) const { return code >= kCodes || (bits_[code / 64] >> (code % 64) & 1); }

  struct Stretch {
    size_t begin, end;
  };
  // The first stretch at or after `from` that may change: a quiet character and those behind it
  // that are not. Empty at the end of the text. The text must be valid UTF-8.
  Stretch next_loud(std::string_view text, size_t from) const;

 private:
  static constexpr uint32_t kCodes = 0x30000;  // nothing above decomposes or combines
  QuietCharacters();
  std::vector<uint64_t> bits_;
};

}  // namespace nibble::text
