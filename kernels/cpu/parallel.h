// The pool for overlay files, which may hold no inline code of ours: two plain functions, compiled
// once for every tier.
#pragma once

#include <cstdint>

namespace nibble {

class Stream;

namespace cpu {

int threads_of(Stream& stream);
// Calls fn(arg, part) for part in [0, parts), spread over the threads.
void parallel(Stream& stream, int64_t parts, void (*fn)(void*, int64_t), void* arg);

}  // namespace cpu
}  // namespace nibble
