// Sizing the KV blocks.
#include "serving/kv/plan.h"

#include <algorithm>

#include "base/errors.h"

namespace nibble::serving {
namespace {

constexpr int64_t kNull = 1;  // the null block

}  // namespace

int64_t plan_kv_bytes(const KvNeeds& needs, int64_t asked, int64_t available) {
  check(needs.block_bytes > 0 && needs.block_tokens > 0 && needs.max_context > 0, "kv needs");
  const int64_t context = (needs.max_context + needs.block_tokens - 1) / needs.block_tokens;
  const int64_t one = (context + kNull) * needs.block_bytes;
  const int64_t most = asked > 0 ? asked : available / 10 * 9;
  if (one > most) {
    const int64_t longest =
        std::max<int64_t>(0, most / needs.block_bytes - kNull) * needs.block_tokens;
    throw OutOfMemory(
        cat("one request of ", human_count(needs.max_context), " tokens needs ", human_bytes(one),
            " of KV blocks, ", human_bytes(most), asked > 0 ? " were given" : " can be had",
            "\n  the longest request that fits has ", human_count(longest), " tokens",
            "\n  cures:    a smaller max_context", longest > 0 ? cat(" (", longest, ")") : "",
            "\n            ", asked > 0 ? "more kv_bytes" : "a 4-bit base (--quant nf4)"));
  }
  if (asked > 0) return asked / needs.block_bytes * needs.block_bytes;
  const int64_t all = (needs.max_sequences * context + kNull) * needs.block_bytes;
  const int64_t bytes = std::max(one, std::min(all, available / 4));
  return bytes / needs.block_bytes * needs.block_bytes;
}

}  // namespace nibble::serving
