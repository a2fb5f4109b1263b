// Which part of the text each token stands for.
#pragma once

#include <cstdint>

#include "model/text/tokenizer.h"

namespace nibble {

// [begin, end) in characters of the text; 0, 0 for a token that a template adds.
struct TokenOffset {
  int32_t id = -1;
  int64_t begin = 0, end = 0;
};

}  // namespace nibble
