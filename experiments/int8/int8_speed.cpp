// Is LLM.int8() faster than the fp32 products it replaces? One line a product: GOP/s for several M
// and their share of the fp32 FMA rate that the same run measured. Usage: int8_speed [in out]
#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/device.h"

namespace nibble {
namespace {

// Processor time: what a busy machine takes away does not count.
double processor_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double best_seconds(const std::function<void()>& once) {
  double best = 1e30, spent = 0;
  for (int calls = 0; calls < 5 || spent < 0.4; ++calls) {
    const double begin = processor_seconds();
    once();
    const double took = processor_seconds() - begin;
    best = std::min(best, took);
    spent += took;
  }
  return best;
}

constexpr int kChains = 12;
constexpr int64_t kFmas = 400000;
volatile float g_sink;

__attribute__((target("avx512f"))) void spin512() {
  __m512 sums[kChains];
  for (auto& s : sums) s = _mm512_set1_ps(1);
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int64_t i = 0; i < kFmas; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_fmadd_ps(sums[c], a, b);
  }
  float total = 0;
  for (auto& s : sums) total += _mm512_cvtss_f32(s);
  g_sink = total;
}

__attribute__((target("avx2,fma"))) void spin256() {
  __m256 sums[kChains];
  for (auto& s : sums) s = _mm256_set1_ps(1);
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int64_t i = 0; i < kFmas; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm256_fmadd_ps(sums[c], a, b);
  }
  float total = 0;
  for (auto& s : sums) total += _mm256_cvtss_f32(s);
  g_sink = total;
}

// bf16 activations, six features of which are twenty times the others.
std::vector<uint16_t> activations(int64_t m, int64_t in) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> x;
  for (int64_t i = 0; i < m * in; ++i) {
    const float value = normal(random) * (i % in < 6 ? 20.0f : 1.0f);
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    x.push_back(static_cast<uint16_t>(bits >> 16));
  }
  return x;
}

// Rows begin on cache lines, as a loaded weight's do.
template <class T>
const T* aligned(std::vector<T>& values) {
  const size_t n = values.size();
  values.resize(n + 64 / sizeof(T));
  auto* from = values.data();
  void* at = from;
  size_t room = values.size() * sizeof(T);
  auto* to = static_cast<T*>(std::align(64, n * sizeof(T), at, room));
  std::copy_backward(from, from + n, to + n);
  return to;
}

struct Case {
  int64_t in, out;
  std::vector<int8_t> codes;
  std::vector<float> absmax, dense;
  WeightView int8, f32;

  Case(int64_t i, int64_t o) : in(i), out(o) {
    std::mt19937 random(5);
    for (int64_t k = 0; k < in * out; ++k) {
      codes.push_back(static_cast<int8_t>(static_cast<int>(random() % 255) - 127));
    }
    absmax.assign(static_cast<size_t>(out), 0.1f);
    for (const int8_t code : codes) dense.push_back(static_cast<float>(code) * (0.1f / 127));
    int8.kind = WeightKind::rows8;
    int8.codes = aligned(codes), int8.absmax = absmax.data();
    f32.codes = aligned(dense);
    for (WeightView* w : {&int8, &f32}) w->in = w->pitch = in, w->out = out;
  }
};

void run_tier(CpuTier tier, const Case& c) {
  ThreadPool pool(1);
  Stream stream(pool);
  const KernelTable& k = cpu_table(tier);
  const bool wide = tier == CpuTier::avx512;
  const double flops = 2.0 * kFmas * kChains * (wide ? 16 : 8);
  const double peak = flops / best_seconds(wide ? spin512 : spin256) * 1e-9;
  std::printf("%s, %d -> %d, one thread, fp32 FMA peak %.0f GFLOP/s\n", name_of(tier),
              static_cast<int>(c.in), static_cast<int>(c.out), peak);
  const auto line = [&](const char* name, const std::function<void(int64_t)>& product) {
    std::printf("  %-34s", name);
    for (const int64_t m : {1, 16, 256}) {
      const double rate =
          2.0 * static_cast<double>(m * c.in * c.out) / best_seconds([&] { product(m); }) * 1e-9;
      std::printf(" | M %3d %6.0f (%.2f)", static_cast<int>(m), rate, rate / peak);
      std::fflush(stdout);
    }
    std::printf("\n");
  };
  const std::vector<uint16_t> x = activations(256, c.in);
  std::vector<float> wide_x(x.size(), 0.5f), y(static_cast<size_t>(256 * c.out));
  const auto forward = [&](const WeightView& w, DType t, const void* from) {
    return [&w, t, from, &stream, &k, &y, &c](int64_t m) {
      static std::vector<uint8_t> scratch;
      scratch.resize(static_cast<size_t>(k.linear_scratch(stream, m, w, t)));
      k.linear_fwd(stream, m, w, t, from, c.in, t, y.data(), c.out, 1, false, scratch.data());
    };
  };
  const auto int8 = [&](double threshold) {
    return [threshold, &x, &stream, &k, &y, &c](int64_t m) {
      static std::vector<uint8_t> scratch;
      scratch.resize(static_cast<size_t>(k.linear_int8_scratch(stream, m, c.int8, DType::bf16)));
      k.linear_int8(stream, m, c.int8, DType::bf16, x.data(), c.in, threshold, nullptr, DType::bf16,
                    y.data(), c.out, scratch.data());
    };
  };
  line("linear_fwd, f32 weight, f32", forward(c.f32, DType::f32, wide_x.data()));
  line("linear_fwd, int8 decoded, bf16", forward(c.int8, DType::bf16, x.data()));
  line("linear_int8, no outliers, bf16", int8(0));
  line("linear_int8, 6 features apart, bf16", int8(6));
  std::vector<int8_t> some(static_cast<size_t>(256 * c.in), 3);
  const int8_t* codes = aligned(some);
  std::vector<int32_t> sums(static_cast<size_t>(256 * c.out));
  line("matmul_int8", [&](int64_t m) {
    k.matmul_int8(stream, m, c.out, c.in, codes, c.in, static_cast<const int8_t*>(c.int8.codes),
                  c.in, sums.data(), c.out);
  });
}

}  // namespace
}  // namespace nibble

int main(int argc, char** argv) {
  using namespace nibble;
  const Case c(argc > 2 ? std::stoll(argv[1]) : 2048, argc > 2 ? std::stoll(argv[2]) : 2048);
  const CpuFeatures& f = cpu_features();
  if (f.avx2 && f.fma && f.f16c && f.bmi2) run_tier(CpuTier::avx2, c);
  if (f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq) run_tier(CpuTier::avx512, c);
}
