// Where merges can never reach across: between two characters of the vocabulary that no token has
// side by side. Cutting there first makes short words of long unsplit text, and the ids stay.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace nibble::text {

class SafeCuts {
 public:
  void add_character(uint32_t code);       // one that has a token of its own
  void add_token(std::string_view token);  // what merges can make
  // Call once after the last of them. `unknown_alone`: characters without a token never vanish and
  // never merge, so that only runs of them must stay together.
  void build(bool unknown_alone);
  bool empty() const { return pairs_.empty(); }
  // The end of the word that begins at `at`: the first safe cut, or the end of the text.
  size_t next(std::string_view text, size_t at) const;

 private:
  static constexpr uint32_t kTable = 129;  // ASCII and "▁" have rows of their own
  static uint32_t row(uint32_t code);
  bool known(uint32_t code) const {
    return code / 64 < known_.size() && (known_[code / 64] >> (code % 64) & 1) != 0;
  }
  bool held_together(uint32_t left, uint32_t right) const {
    return unknown_alone_ ? !known(left) && !known(right) : !known(left) || !known(right);
  }
  bool may_join(uint32_t left, uint32_t right) const;

  bool unknown_alone_ = false;

  std::vector<uint64_t> known_;  // a bit for each code point
  uint8_t joins_[kTable][kTable] = {};
  std::vector<uint64_t> seen_;   // other pairs, until build()
  std::vector<uint64_t> pairs_;  // their bits by hash: a false yes only misses a cut
};

}  // namespace nibble::text
