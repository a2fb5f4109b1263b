// The free list of KV blocks.
#include "serving/kv/block_pool.h"

#include <limits>

#include "base/errors.h"

namespace nibble::serving {
namespace {

constexpr int32_t kInUse = -1;

}  // namespace

Block& Block::operator=(Block&& other) noexcept {
  if (this == &other) return *this;
  if (pool_ != nullptr) pool_->give_back(id_);
  pool_ = other.pool_;
  id_ = other.id_;
  other.pool_ = nullptr;
  return *this;
}

Block::~Block() {
  if (pool_ != nullptr) pool_->give_back(id_);
}

BlockPool::BlockPool(int64_t blocks) {
  check(0 <= blocks && blocks < std::numeric_limits<int32_t>::max(), cat("block pool of ", blocks));
  next_.assign(static_cast<size_t>(blocks) + 1, kInUse);
  for (int64_t id = 1; id <= blocks; ++id) give_back(static_cast<int32_t>(id));
}

// A handle that outlives its pool would write to freed memory: better to end here, with the reason.
BlockPool::~BlockPool() { check_eq(free_, total(), "blocks still held when their pool ends"); }

std::optional<std::vector<Block>> BlockPool::take(int64_t n) {
  check(n >= 0, cat("block pool: take ", n));
  if (n > free_) return std::nullopt;
  std::vector<Block> blocks;
  blocks.reserve(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const int32_t id = first_;
    first_ = next_[static_cast<size_t>(id)];
    if (first_ == 0) last_ = 0;
    next_[static_cast<size_t>(id)] = kInUse;
    blocks.push_back(Block(this, id));
  }
  free_ -= n;
  return blocks;
}

void BlockPool::give_back(int32_t id) {
  next_[static_cast<size_t>(id)] = 0;
  (last_ == 0 ? first_ : next_[static_cast<size_t>(last_)]) = id;
  last_ = id;
  ++free_;
}

}  // namespace nibble::serving
