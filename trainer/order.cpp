#include "trainer/order.h"

#include <algorithm>

#include "base/random.h"

namespace nibble {

int64_t Order::micro_batches_per_epoch() const {
  return (o_.rows + o_.micro_batch_size - 1) / o_.micro_batch_size;
}

int64_t Order::steps_per_epoch() const {
  return (micro_batches_per_epoch() + o_.accumulation - 1) / o_.accumulation;
}

std::vector<std::vector<int64_t>> Order::step(int64_t step) const {
  const int64_t epoch = epoch_of(step), within = step % steps_per_epoch();
  const RngKey key{o_.seed, rng_site("data order"), 0, static_cast<uint64_t>(epoch)};
  std::vector<std::vector<int64_t>> batches;
  const int64_t first = within * o_.accumulation;
  const int64_t last = std::min(first + o_.accumulation, micro_batches_per_epoch());
  for (int64_t m = first; m < last; ++m) {
    std::vector<int64_t> rows;
    const int64_t end = std::min((m + 1) * o_.micro_batch_size, o_.rows);
    for (int64_t i = m * o_.micro_batch_size; i < end; ++i)
      rows.push_back(o_.shuffle
                         ? static_cast<int64_t>(permuted(static_cast<uint64_t>(i),
                                                         static_cast<uint64_t>(o_.rows), key))
                         : i);
    batches.push_back(std::move(rows));
  }
  return batches;
}

Split2 hold_out(int64_t rows, int64_t count, uint64_t seed) {
  const RngKey key{seed, rng_site("held out"), 0, 0};
  std::vector<bool> held(static_cast<size_t>(rows), false);
  for (int64_t i = 0; i < count; ++i)
    held[permuted(static_cast<uint64_t>(i), static_cast<uint64_t>(rows), key)] = true;
  Split2 split;
  for (int64_t i = 0; i < rows; ++i)
    (held[static_cast<size_t>(i)] ? split.held_out : split.train).push_back(i);
  return split;
}

}  // namespace nibble
