#include "model/text/merge_table.h"

#include "base/errors.h"

namespace nibble::text {

void MergeTable::reserve(size_t merges) {
  check(used_ == 0, "merge table: reserved before it is filled");
  check(merges < kMost, "merge table: number of merges");
  while (mask_ + 1 < merges * 2) mask_ = mask_ * 2 + 1;
  slots_.assign(mask_ + 1, {});
}

void MergeTable::put(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = key_of(left, right);
  size_t at = place(key);
  while (slots_[at].pair != kFree && slots_[at].pair != key) at = (at + 1) & mask_;
  used_ += slots_[at].pair == kFree;
  check(used_ <= mask_, "merge table: more merges than reserved");
  slots_[at] = {key, merge};
}

}  // namespace nibble::text
