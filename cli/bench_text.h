// Text to measure tokenizers on when no file is given: the same bytes on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nibble {

// About `bytes` of prose, code, numbers and many scripts, in documents of a few KB.
std::vector<std::string> make_text_mix(int64_t bytes, uint64_t seed);

}  // namespace nibble
