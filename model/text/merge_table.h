// What two neighbouring tokens merge into, and how early: one flat table over pairs of ids.
#pragma once

#include <cstdint>
#include <vector>

#include "model/text/hash.h"

namespace nibble::text {

class MergeTable {
 public:
  static constexpr uint32_t kNever = ~uint32_t{0};
  static constexpr size_t kMost = size_t{1} << 26;
  struct Merge {
    uint32_t rank = kNever;
    int32_t id = -1;
  };

  void reserve(size_t merges);                         // call before the first put()
  void put(int32_t left, int32_t right, Merge merge);  // a pair's last merge counts
  void prefetch(int32_t left, int32_t right) const {
    __builtin_prefetch(&slots_[place(key_of(left, right))]);
  }
  Merge find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (size_t at = place(key);; at = (at + 1) & mask_) {
      if (slots_[at].pair == key) return slots_[at].merge;
      if (slots_[at].pair == kFree) return {};
    }
  }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};  // no pair: ids that merge are not negative
  struct Slot {
    uint64_t pair = kFree;
    Merge merge;
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t place(uint64_t key) const { return fold(key ^ kMixA, kMixB) & mask_; }

  size_t mask_ = 15, used_ = 0;
  std::vector<Slot> slots_ = std::vector<Slot>(16);  // a power of two, at most half full
};

}  // namespace nibble::text
