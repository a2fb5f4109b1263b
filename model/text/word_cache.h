// Ids of words met before: ordinary text repeats itself, so most words are looked up, not merged.
// Fixed size; a later word takes the place of an earlier one.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace nibble::text {

class WordCache {
 public:
  static constexpr size_t kLongest = 62;  // bytes of a word
  static constexpr size_t kMost = 16;     // ids of a word

  WordCache();
  // The ids of the word at `text[begin, end)`, or nothing. Holds until the next put(). The whole
  // text is given so that the word's neighbours may be read with it.
  std::span<const int32_t> find(std::string_view text, size_t begin, size_t end) const;
  void put(std::string_view word, std::span<const int32_t> ids);  // if it fits

 private:
  // Most words are short and few ids. They are compared as two numbers, the upper byte of `high`
  // being the length; two that share a cache line are a set, the later one in front.
  struct alignas(32) Short {
    uint64_t low = 0, high = 0;
    int32_t ids[3];
    int32_t count;  // kInLong: the other table has it
  };
  struct Long {
    uint8_t bytes = 0, count = 0;
    char word[kLongest];
    int32_t ids[kMost];
  };
  static constexpr size_t kWays = 2;
  static constexpr size_t kShortBytes = 15;
  static constexpr int32_t kInLong = -1;
  static constexpr int kShortBits = 15, kLongBits = 13;

  static Short short_key(const char* word, size_t bytes, size_t readable);
  static size_t set_of(const Short& key);  // the index of its first place
  std::span<const int32_t> find_long(std::string_view word) const;

  std::vector<Short> short_;
  std::vector<Long> long_;
};

}  // namespace nibble::text
