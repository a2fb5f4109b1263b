// What this processor and its operating system together can do: a CPUID bit counts only when the
// system saves the registers it needs (XGETBV).
#include <cpuid.h>

#include <cstring>
#include <string>

#include "kernels/device.h"

namespace nibble {
namespace {

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);  // leaves r zero when there is no leaf
  return r;
}

bool bit(uint32_t word, int n) { return (word >> n & 1u) != 0; }

uint64_t saved_state() {
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

std::string brand_string() {
  if (cpuid(0x80000000u).a < 0x80000004u) return "unknown";
  char text[49] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002u + i);
    std::memcpy(text + 16 * i, &r, sizeof r);
  }
  return std::string(trim(text));
}

CpuFeatures detect() {
  CpuFeatures f;
  f.brand = brand_string();
  const Registers one = cpuid(1), seven = cpuid(7), seven_one = cpuid(7, 1);
  f.bmi2 = bit(seven.b, 8);
  if (!bit(one.c, 27)) return f;  // OSXSAVE: without it the wide registers are not saved
  const uint64_t saved = saved_state();
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6, kTiles = 0x60000;
  if ((saved & kYmm) != kYmm || !bit(one.c, 28)) return f;
  f.avx2 = bit(seven.b, 5);
  f.fma = bit(one.c, 12);
  f.f16c = bit(one.c, 29);
  f.avx_vnni = bit(seven_one.a, 4);
  if ((saved & kZmm) == kZmm) {
    f.avx512f = bit(seven.b, 16);
    f.avx512dq = bit(seven.b, 17);
    f.avx512bw = bit(seven.b, 30);
    f.avx512vl = bit(seven.b, 31);
    f.avx512_vnni = bit(seven.c, 11);
    f.avx512_bf16 = bit(seven_one.a, 5);
  }
  if ((saved & kTiles) == kTiles) {
    f.amx_bf16 = bit(seven.d, 22);
    f.amx_int8 = bit(seven.d, 25);
  }
  return f;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

std::vector<std::string> CpuFeatures::names() const {
  std::vector<std::string> out;
  const auto add = [&](bool present, const char* name) {
    if (present) out.emplace_back(name);
  };
  add(avx2, "avx2");
  add(fma, "fma");
  add(f16c, "f16c");
  add(bmi2, "bmi2");
  add(avx512f, "avx512f");
  add(avx512bw, "avx512bw");
  add(avx512vl, "avx512vl");
  add(avx512dq, "avx512dq");
  add(avx512_bf16, "avx512_bf16");
  add(avx512_vnni, "avx512_vnni");
  add(avx_vnni, "avx_vnni");
  add(amx_bf16, "amx_bf16");
  add(amx_int8, "amx_int8");
  return out;
}

}  // namespace nibble
