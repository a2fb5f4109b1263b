// The pool for overlay files, in baseline code.
#include "kernels/cpu/parallel.h"

#include "kernels/device.h"

namespace nibble::cpu {

int threads_of(Stream& stream) { return stream.pool().size(); }

void parallel(Stream& stream, int64_t parts, void (*fn)(void*, int64_t), void* arg) {
  stream.pool().run(parts, [&](int64_t part) { fn(arg, part); });
}

}  // namespace nibble::cpu
