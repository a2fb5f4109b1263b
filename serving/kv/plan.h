// How many KV blocks there will be, and a refusal that names the longest request that would fit.
#pragma once

#include <cstdint>

namespace nibble::serving {

struct KvNeeds {
  int64_t block_bytes = 0;  // of one block in all layers
  int64_t block_tokens = 16;
  int64_t max_context = 0;  // tokens of the longest request
  int64_t max_sequences = 64;
};

// Bytes for the blocks, the null block included. asked 0: what max_sequences full contexts need, at
// most a quarter of `available`, but at least one full context when nine tenths of it hold that.
// Throws OutOfMemory when one full context does not fit.
int64_t plan_kv_bytes(const KvNeeds& needs, int64_t asked, int64_t available);

// Blocks in `bytes`, the null block included.
inline int64_t blocks_in(const KvNeeds& needs, int64_t bytes) { return bytes / needs.block_bytes; }

}  // namespace nibble::serving
