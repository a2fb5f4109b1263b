// Documents differ in length a hundredfold, so a fixed partition would leave threads waiting.
#include "model/text/encode_batch.h"

#include <atomic>

namespace nibble {

std::vector<std::vector<int32_t>> encode_batch(const Tokenizer& tokenizer,
                                               std::span<const std::string_view> texts,
                                               Tokenizer::EncodeOptions options, ThreadPool& pool) {
  std::vector<std::vector<int32_t>> ids(texts.size());
  std::atomic<size_t> next{0};
  pool.run(pool.size(), [&](int64_t) {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < texts.size();) {
      ids[i] = tokenizer.encode(texts[i], options);
    }
  });
  return ids;
}

}  // namespace nibble
