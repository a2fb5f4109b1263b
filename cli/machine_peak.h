// What this machine can do at most, measured: how fast memory is copied and how many fused
// multiply-adds it makes. Benches print it beside their own figures, for a speed alone says little.
#pragma once

#include <cstdint>

#include "kernels/device.h"

namespace nibble {

struct MachinePeak {
  double copy_bytes_per_s = 0;  // read + written, of buffers that no cache holds
  double fma_flops_per_s = 0;   // fp32, two a multiply-add, with the widest registers of the tier
};

// Both with all threads of the device, the best of a few rounds; a few hundred milliseconds. The
// copy's buffers are at most a quarter of the free memory together.
MachinePeak measure_machine(const Device& device);

// memcpy of `bytes`, shared out to the threads: the best rate of at least 5 ms, read + written.
double measure_copy(const Device& device, int64_t bytes);
double measure_fma(const Device& device);

int64_t cache_bytes(int level);  // of level 2 (of a core) or 3; a usual size where it is unknown

// Seconds of the fastest of some runs of work(): for at least `seconds` and three runs.
template <class Work>
double fastest(double seconds, const Work& work);

double clock_seconds();  // monotonic

template <class Work>
double fastest(double seconds, const Work& work) {
  double best = 0, sum = 0;
  for (int run = 0; run < 3 || sum < seconds; ++run) {
    const double begin = clock_seconds();
    work();
    const double took = clock_seconds() - begin;
    best = run == 0 || took < best ? took : best;
    sum += took;
  }
  return best;
}

}  // namespace nibble
