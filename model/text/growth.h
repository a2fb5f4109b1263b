// How much longer a step may make a text. Published normalizers stay far below; a damaged or
// hostile file could ask for more memory than there is.
#pragma once

#include <cstddef>

#include "base/errors.h"

namespace nibble::text {

inline void check_growth(size_t bytes, size_t before) {
  constexpr size_t kFree = size_t{1} << 20;
  constexpr size_t kTimes = 64;
  if (bytes <= kFree + kTimes * before) return;
  throw UserError("tokenizer",
                  cat("a step of the tokenizer makes more than ", bytes, " bytes of ", before),
                  "the tokenizer's file is damaged: fetch it again", Exit::bad_data);
}

}  // namespace nibble::text
