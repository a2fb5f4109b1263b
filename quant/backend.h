// What number formats need of a device: its kernel rows, where they run, its memory.
#pragma once

#include "kernels/device.h"

namespace nibble {

struct Backend {
  const KernelTable& k;
  Stream& stream;
  Memory& memory;
  Backend(const KernelTable& kernels, Stream& s, Memory& m) : k(kernels), stream(s), memory(m) {}
  Backend(const Device& device)  // NOLINT: a device is a backend wherever one is asked for
      : k(device.kernels()), stream(device.stream()), memory(device.memory()) {}
};

}  // namespace nibble
