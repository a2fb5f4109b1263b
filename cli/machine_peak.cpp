// Other programs use the machine, too: the fastest round is what it can do, all others say what
// company cost.
#include "cli/machine_peak.h"

#include <immintrin.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/machine_memory.h"

namespace nibble {
namespace {

constexpr int64_t kFmas = 1 << 17;  // turns of a loop below

// Chains enough that the latency of one hides behind the others. The sums are kept, or the compiler
// would drop them.
__attribute__((target("avx512f"))) double fma_avx512() {
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
  __m512 sum[16];
  for (__m512& s : sum) s = x;
  for (int64_t i = 0; i < kFmas; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < 16; ++c) sum[c] = _mm512_fmadd_ps(sum[c], x, y);
  }
  float lanes[16], kept = 0;
  for (const __m512& s : sum) {
    _mm512_storeu_ps(lanes, s);
    kept += lanes[0];
  }
  return static_cast<double>(kept);
}

__attribute__((target("avx2,fma"))) double fma_avx2() {
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
  __m256 sum[12];
  for (__m256& s : sum) s = x;
  for (int64_t i = 0; i < kFmas; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < 12; ++c) sum[c] = _mm256_fmadd_ps(sum[c], x, y);
  }
  float lanes[8], kept = 0;
  for (const __m256& s : sum) {
    _mm256_storeu_ps(lanes, s);
    kept += lanes[0];
  }
  return static_cast<double>(kept);
}

// The baseline has no fused operation: a product and a sum.
double fma_sse() {
  const __m128 x = _mm_set1_ps(0.999f), y = _mm_set1_ps(1e-3f);
  __m128 sum[12];
  for (__m128& s : sum) s = x;
  for (int64_t i = 0; i < kFmas; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < 12; ++c) sum[c] = _mm_add_ps(_mm_mul_ps(sum[c], x), y);
  }
  float kept = 0;
  for (const __m128& s : sum) kept += _mm_cvtss_f32(s);
  return static_cast<double>(kept);
}

struct Chains {
  double (*run)();
  int64_t flops;  // of one run
};

Chains chains_of(CpuTier tier) {
  switch (tier) {
    case CpuTier::avx512:
      return {fma_avx512, kFmas * 16 * 16 * 2};
    case CpuTier::avx2:
      return {fma_avx2, kFmas * 12 * 8 * 2};
    case CpuTier::scalar:
      break;
  }
  return {fma_sse, kFmas * 12 * 4 * 2};
}

}  // namespace

double clock_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int64_t cache_bytes(int level) {
  const int64_t known = sysconf(level == 2 ? _SC_LEVEL2_CACHE_SIZE : _SC_LEVEL3_CACHE_SIZE);
  return known > 0 ? known : int64_t{level == 2 ? 1 : 32} << 20;
}

double measure_copy(const Device& device, int64_t bytes) {
  std::vector<char> from(static_cast<size_t>(bytes), 1), to(static_cast<size_t>(bytes), 2);
  const int64_t threads = device.threads();
  // Small copies are repeated by each thread, so that neither clock nor pool is asked often.
  const int64_t times = std::max<int64_t>(1, (8 << 20) / std::max<int64_t>(1, bytes));
  const auto copy = [&] {
    device.stream().pool().run(threads, [&](int64_t part) {
      const int64_t begin = bytes * part / threads, end = bytes * (part + 1) / threads;
      for (int64_t i = 0; i < times; ++i) {
        std::memcpy(to.data() + begin, from.data() + begin, static_cast<size_t>(end - begin));
        __asm__ volatile("" ::: "memory");  // every copy counts
      }
    });
  };
  copy();
  return 2 * static_cast<double>(bytes * times) / fastest(5e-3, copy);
}

double measure_fma(const Device& device) {
  const Chains chains = chains_of(device.tier());
  std::vector<double> kept(static_cast<size_t>(device.threads()));
  const double seconds = fastest(50e-3, [&] {
    device.stream().pool().run(
        device.threads(), [&](int64_t part) { kept[static_cast<size_t>(part)] = chains.run(); });
  });
  check(std::all_of(kept.begin(), kept.end(), [](double x) { return x > 0; }), "measure_fma: sums");
  return static_cast<double>(chains.flops * device.threads()) / seconds;
}

MachinePeak measure_machine(const Device& device) {
  const int64_t beyond = cache_bytes(3) + cache_bytes(3) / 8;  // both buffers together
  const int64_t allowed = machine_memory().available / 4;
  return {measure_copy(device, std::max<int64_t>(1 << 20, std::min(beyond, allowed) / 2)),
          measure_fma(device)};
}

}  // namespace nibble
