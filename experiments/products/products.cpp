// How much of this machine's fp32 FMA rate do the products reach, decoding and packing included?
// Prints one line a case: GFLOP/s and its share of the peak that the same run measured, at the
// vector width of the tier. Usage: products [avx2] [avx512] [--m M] [--threads N]
// [--only TEXT] [--quick]
#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/device.h"

namespace nibble {
namespace {

// Processor time of all threads: what a busy machine takes away does not count. Divided by the
// threads it is the time on a quiet one, because the pool's threads spin while they wait.
double processor_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// ── the peak: chains of FMAs that touch no memory ────────────────────────────────────────────────

constexpr int kChains = 12;
constexpr int64_t kFmas = 400000;

__attribute__((target("avx512f"))) float spin512() {
  __m512 sums[kChains];
  for (auto& s : sums) s = _mm512_set1_ps(1);
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int64_t i = 0; i < kFmas; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_fmadd_ps(sums[c], a, b);
  }
  float total = 0;
  for (auto& s : sums) total += _mm512_cvtss_f32(s);
  return total;
}

__attribute__((target("avx2,fma"))) float spin256() {
  __m256 sums[kChains];
  for (auto& s : sums) s = _mm256_set1_ps(1);
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int64_t i = 0; i < kFmas; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm256_fmadd_ps(sums[c], a, b);
  }
  float total = 0;
  for (auto& s : sums) total += _mm256_cvtss_f32(s);
  return total;
}

volatile float g_sink;

double peak_gflops(CpuTier tier, ThreadPool& pool) {
  const bool wide = tier == CpuTier::avx512;
  const double flops = 2.0 * kFmas * kChains * (wide ? 16 : 8) * pool.size();
  double best = 1e30;
  const double start = processor_seconds();
  constexpr int kTimes = 20;
  for (int i = 0; i < kTimes; ++i) {
    const double begin = processor_seconds();
    pool.run(pool.size(), [&](int64_t) { g_sink = wide ? spin512() : spin256(); });
    best = std::min(best, (processor_seconds() - begin) / pool.size());
  }
  if (pool.size() > 1) best = (processor_seconds() - start) / kTimes / pool.size();
  return flops / best * 1e-9;
}

// ── the cases ────────────────────────────────────────────────────────────────────────────────────

struct Weight {
  WeightView view;
  std::vector<uint8_t> codes, absmax_codes;
  std::vector<float> absmax2, map;
};

enum class Format { nf4_flat, nf4_panel, bf16 };
const char* name_of(Format f) {
  return f == Format::bf16 ? "bf16" : f == Format::nf4_flat ? "nf4 flat" : "nf4 panel";
}

// Random codes with nested scales, as double quantization leaves them.
Weight make_weight(Format format, int64_t out, int64_t in) {
  Weight w;
  std::mt19937 random(7);
  w.view.out = out, w.view.in = in;
  if (format == Format::bf16) {
    w.codes.resize(static_cast<size_t>(out * in * 2));
    for (size_t i = 0; i < w.codes.size(); i += 2) {
      const float x = static_cast<float>(random() % 2001) / 1000.0f - 1;
      uint32_t bits;
      std::memcpy(&bits, &x, 4);
      w.codes[i] = static_cast<uint8_t>(bits >> 16);
      w.codes[i + 1] = static_cast<uint8_t>(bits >> 24);
    }
    w.view.dtype = DType::bf16, w.view.pitch = in;
  } else {
    w.view.kind = WeightKind::table4;
    w.view.layout = format == Format::nf4_flat ? Layout::flat : Layout::panel;
    w.view.value_dtype = DType::bf16;
    const int64_t rows = (out + 15) / 16 * 16;
    w.codes.resize(static_cast<size_t>(rows * in / 2));
    for (auto& c : w.codes) c = static_cast<uint8_t>(random());
    w.absmax_codes.resize(static_cast<size_t>(rows * in / 64));
    for (auto& c : w.absmax_codes) c = static_cast<uint8_t>(random());
    w.absmax2.assign(w.absmax_codes.size() / 256 + 1, 0.02f);
    for (int i = 0; i < 256; ++i) w.map.push_back(static_cast<float>(i) / 256);
    for (int i = 0; i < 16; ++i) w.view.table[i] = static_cast<float>(i) / 7.5f - 1;
    w.view.absmax_codes = w.absmax_codes.data();
    w.view.absmax2 = w.absmax2.data();
    w.view.map = w.map.data();
    w.view.offset = 0.01f;
  }
  w.view.codes = w.codes.data();
  return w;
}

enum class Row { fwd, dx, dw };
const char* name_of(Row r) { return r == Row::fwd ? "fwd" : r == Row::dx ? "dx" : "dw"; }

struct Machine {
  CpuTier tier;
  ThreadPool& pool;
  bool quick;
};

double best_gflops(const Machine& machine, Row row, const WeightView& w, DType t, int64_t m) {
  Stream stream(machine.pool);
  const KernelTable& k = cpu_table(machine.tier);
  std::vector<uint8_t> x(static_cast<size_t>(m * w.in * 4), 0),
      dy(static_cast<size_t>(m * w.out * 4), 0);
  std::vector<uint8_t> dw(row == Row::dw ? static_cast<size_t>(w.out * w.in * 4) : 0);
  std::vector<uint8_t> scratch(
      static_cast<size_t>(row == Row::dw ? k.linear_dw_scratch(stream, m, w.out, w.in, t)
                                         : k.linear_scratch(stream, m, w, t)));
  const auto once = [&] {
    if (row == Row::fwd) {
      k.linear_fwd(stream, m, w, t, x.data(), w.in, t, dy.data(), w.out, 1, false, scratch.data());
    } else if (row == Row::dx) {
      k.linear_dx(stream, m, w, t, dy.data(), w.out, t, x.data(), w.in, 1, false, scratch.data());
    } else {
      k.linear_dw(stream, m, w.out, w.in, t, dy.data(), w.out, x.data(), w.in, 1, dw.data(), w.in,
                  scratch.data());
    }
  };
  // One thread: its best call. More: all calls together, because the clock of the process knows the
  // other threads' share only to a tick of the scheduler.
  const int threads = machine.pool.size();
  const double start = processor_seconds(), budget = machine.quick ? 0.05 : 0.3;
  double best = 1e30, now = start;
  int calls = 0;
  while (calls < 4 || now - start < budget * threads) {
    const double begin = now;
    once();
    now = processor_seconds();
    best = std::min(best, now - begin);
    ++calls;
  }
  if (threads > 1) best = (now - start) / calls / threads;
  return 2.0 * static_cast<double>(m * w.out * w.in) / best * 1e-9;
}

struct Plan {
  std::vector<int64_t> rows = {1, 8, 64, 128, 512};
  std::string only;  // part of a case's line
  bool quick = false;
};

void run_tier(CpuTier tier, int threads, const Plan& plan) {
  ThreadPool pool(threads);
  const Machine machine{tier, pool, plan.quick};
  const int64_t shapes[][2] = {{576, 1536}, {768, 2048}, {2048, 5632}};
  double peak = peak_gflops(tier, pool);
  const auto run_case = [&](const Weight& w, Format f, DType t, Row row) {
    char label[80];
    std::snprintf(label, sizeof label, "%-6s %d %4dx%-4d %-9s %-4s %-3s", nibble::name_of(tier),
                  threads, static_cast<int>(w.view.in), static_cast<int>(w.view.out), name_of(f),
                  nibble::name_of(t), name_of(row));
    if (std::string(label).find(plan.only) == std::string::npos) return;
    std::printf("%s", label);
    for (const int64_t m : plan.rows) {
      const double rate = best_gflops(machine, row, w.view, t, m);
      std::printf(" | m %4d %6.0f %.2f", static_cast<int>(m), rate, rate / peak);
      std::fflush(stdout);
    }
    std::printf("\n");
  };
  for (const auto& shape : shapes) {
    for (const Format f : {Format::nf4_flat, Format::nf4_panel, Format::bf16}) {
      const Weight w = make_weight(f, shape[1], shape[0]);
      for (const DType t : {DType::f32, DType::bf16}) {
        for (const Row row : {Row::fwd, Row::dx, Row::dw}) {
          if (row != Row::dw || f == Format::bf16) run_case(w, f, t, row);
        }
      }
    }
    peak = std::max(peak, peak_gflops(tier, pool));
  }
  std::printf("%s, %d threads: peak %.0f GFLOP/s\n", nibble::name_of(tier), threads, peak);
}

}  // namespace
}  // namespace nibble

int main(int argc, char** argv) {
  using namespace nibble;
  std::vector<CpuTier> tiers;
  std::vector<int> threads = {1, 2};
  Plan plan;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    if (a == "avx2") tiers.push_back(CpuTier::avx2);
    if (a == "avx512") tiers.push_back(CpuTier::avx512);
    if (a == "--quick") plan.quick = true;
    if (a == "--m" && i + 1 < argc) plan.rows = {std::stoll(argv[++i])};
    if (a == "--threads" && i + 1 < argc) threads = {std::stoi(argv[++i])};
    if (a == "--only" && i + 1 < argc) plan.only = argv[++i];
  }
  if (tiers.empty()) tiers = {CpuTier::avx2, CpuTier::avx512};
  for (const CpuTier tier : tiers) {
    for (const int n : threads) run_tier(tier, n, plan);
  }
}
