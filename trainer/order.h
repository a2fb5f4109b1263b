// Which rows a step sees: a pure function of the step, so that a checkpoint stores one integer.
#pragma once

#include <cstdint>
#include <vector>

namespace nibble {

struct OrderOptions {
  int64_t rows = 0;
  int64_t micro_batch_size = 1;
  int64_t accumulation = 1;
  bool shuffle = true;
  uint64_t seed = 0;
};

class Order {
 public:
  explicit Order(const OrderOptions& options) : o_(options) {}
  int64_t micro_batches_per_epoch() const;
  int64_t steps_per_epoch() const;  // the last window of an epoch may be short
  int64_t epoch_of(int64_t step) const { return step / steps_per_epoch(); }  // step from 0
  // The rows of every micro-batch of a step (from 0).
  std::vector<std::vector<int64_t>> step(int64_t step) const;

 private:
  OrderOptions o_;
};

// `count` rows of `rows` held out, by a keyed draw; both results keep row order.
struct Split2 {
  std::vector<int64_t> train, held_out;
};
Split2 hold_out(int64_t rows, int64_t count, uint64_t seed);

}  // namespace nibble
