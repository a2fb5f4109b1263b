// Many texts at once: threads take the next document as they come free, and what each text becomes
// does not depend on how many there are.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "model/text/tokenizer.h"

namespace nibble {

// The ids of every text, in order.
std::vector<std::vector<int32_t>> encode_batch(const Tokenizer& tokenizer,
                                               std::span<const std::string_view> texts,
                                               Tokenizer::EncodeOptions options, ThreadPool& pool);

}  // namespace nibble
