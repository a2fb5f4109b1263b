// KV blocks as ids. A block is a handle: whoever holds it owns it, and it is free again when the
// handle goes, so cancelling, failing and preempting need no release code. Knows no request and no
// bytes. Lives on one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace nibble::serving {

class BlockPool;

class Block {
 public:
  Block() = default;
  Block(Block&& other) noexcept : pool_(other.pool_), id_(other.id_) { other.pool_ = nullptr; }
  Block& operator=(Block&& other) noexcept;
  ~Block();
  int32_t id() const { return id_; }

 private:
  friend class BlockPool;
  Block(BlockPool* pool, int32_t id) : pool_(pool), id_(id) {}
  BlockPool* pool_ = nullptr;
  int32_t id_ = 0;
};

class BlockPool {
 public:
  // Ids 1 … blocks; block 0 is the null block, which no one is given: tables are padded with it.
  explicit BlockPool(int64_t blocks);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();  // every handle is gone by then

  // All n or none.
  std::optional<std::vector<Block>> take(int64_t n);
  int64_t free() const { return free_; }
  int64_t used() const { return total() - free_; }
  int64_t total() const { return static_cast<int64_t>(next_.size()) - 1; }

 private:
  friend class Block;
  void give_back(int32_t id);

  // The free list runs through next_: the block freed longest ago is given first. 0 ends it.
  std::vector<int32_t> next_;
  int32_t first_ = 0, last_ = 0;
  int64_t free_ = 0;
};

}  // namespace nibble::serving
