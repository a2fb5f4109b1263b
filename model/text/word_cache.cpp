// Two tables of a megabyte each: a collision costs one merge, never a wrong id.
#include "model/text/word_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "model/text/hash.h"

namespace nibble::text {

static_assert(std::endian::native == std::endian::little, "words are masked as numbers");

WordCache::WordCache() : short_(size_t{1} << kShortBits), long_(size_t{1} << kLongBits) {}

WordCache::Short WordCache::short_key(const char* word, size_t bytes, size_t readable) {
  uint64_t part[2] = {0, 0};
  if (readable >= sizeof part) {
    std::memcpy(part, word, sizeof part);
    constexpr uint64_t kAll = ~uint64_t{0};
    if (bytes <= 8) {
      part[0] &= kAll >> (64 - 8 * bytes);
      part[1] = 0;
    } else {
      part[1] &= kAll >> (128 - 8 * bytes);
    }
  } else {
    std::memcpy(part, word, bytes);
  }
  Short key;
  key.low = part[0];
  key.high = part[1] | static_cast<uint64_t>(bytes) << 56;
  return key;
}

size_t WordCache::set_of(const Short& key) {
  return (fold(key.low ^ kMixA, key.high ^ kMixB) >> (65 - kShortBits)) * kWays;
}

std::span<const int32_t> WordCache::find(std::string_view text, size_t begin, size_t end) const {
  const size_t bytes = end - begin;
  if (bytes > kShortBytes) return find_long(text.substr(begin, bytes));
  if (bytes == 0) return {};
  const Short key = short_key(text.data() + begin, bytes, text.size() - begin);
  const Short* found = &short_[set_of(key)];
  if (found->low != key.low || found->high != key.high) {
    ++found;
    if (found->low != key.low || found->high != key.high) return {};
  }
  if (found->count == kInLong) return find_long(text.substr(begin, bytes));
  return {found->ids, static_cast<size_t>(found->count)};
}

std::span<const int32_t> WordCache::find_long(std::string_view word) const {
  if (word.size() > kLongest) return {};
  const Long& found = long_[hash_text(word) >> (64 - kLongBits)];
  if (found.bytes != word.size() || std::memcmp(found.word, word.data(), word.size()) != 0)
    return {};
  return {found.ids, found.count};
}

void WordCache::put(std::string_view word, std::span<const int32_t> ids) {
  if (word.empty() || word.size() > kLongest || ids.empty() || ids.size() > kMost) return;
  if (word.size() <= kShortBytes) {
    Short key = short_key(word.data(), word.size(), word.size());
    const bool fits = ids.size() <= std::size(key.ids);
    key.count = fits ? static_cast<int32_t>(ids.size()) : kInLong;
    if (fits) std::copy(ids.begin(), ids.end(), key.ids);
    Short* set = &short_[set_of(key)];
    const bool again = set->low == key.low && set->high == key.high;
    if (!again) set[1] = set[0];
    set[0] = key;
    if (fits) return;
  }
  Long& slot = long_[hash_text(word) >> (64 - kLongBits)];
  slot.bytes = static_cast<uint8_t>(word.size());
  slot.count = static_cast<uint8_t>(ids.size());
  std::memcpy(slot.word, word.data(), word.size());
  std::copy(ids.begin(), ids.end(), slot.ids);
}

}  // namespace nibble::text
