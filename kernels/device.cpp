// Which rows a CPU runs: the widest tier that it and its system have, or the one NIBBLE_CPU names.
#include "kernels/device.h"

#include <array>
#include <cstdlib>

#include "kernels/cpu/table.h"

namespace nibble {
namespace {

constexpr const char* kTierNames[] = {"scalar", "avx2", "avx512"};  // in the order of CpuTier

// Exactly what the overlay folders are compiled for (kernels/CMakeLists.txt).
bool supports(const CpuFeatures& f, CpuTier tier) {
  const bool avx2 = f.avx2 && f.fma && f.f16c && f.bmi2;
  switch (tier) {
    case CpuTier::scalar:
      return true;
    case CpuTier::avx2:
      return avx2;
    case CpuTier::avx512:
      return avx2 && f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq;
  }
  return false;
}

CpuTier widest(const CpuFeatures& f) {
  if (supports(f, CpuTier::avx512)) return CpuTier::avx512;
  return supports(f, CpuTier::avx2) ? CpuTier::avx2 : CpuTier::scalar;
}

TierChoice forced_tier(const std::string& name) {
  for (const CpuTier tier : {CpuTier::scalar, CpuTier::avx2, CpuTier::avx512}) {
    if (name != name_of(tier)) continue;
    if (!supports(cpu_features(), tier)) {
      throw UserError("NIBBLE_CPU", cat("this CPU (", cpu_features().brand, ") has no ", name),
                      cat("unset NIBBLE_CPU or set it to ", name_of(widest(cpu_features()))),
                      Exit::device_unavailable);
    }
    return {tier, cat(name, ": NIBBLE_CPU")};
  }
  throw UserError("NIBBLE_CPU", cat("no CPU tier is called \"", name, "\""),
                  "use scalar, avx2 or avx512, or unset it");
}

std::array<KernelTable, 3> build_tables() {
  std::array<KernelTable, 3> tables;
  for (size_t tier = 0; tier < tables.size(); ++tier) {
    cpu::fill_scalar(tables[tier]);
    if (tier >= 1) cpu::overlay_avx2(tables[tier]);
    if (tier >= 2) cpu::overlay_avx512(tables[tier]);
  }
  return tables;
}

}  // namespace

const char* name_of(CpuTier t) { return kTierNames[static_cast<size_t>(t)]; }

TierChoice choose_cpu_tier() {
  const char* forced = std::getenv("NIBBLE_CPU");
  if (forced != nullptr && *forced != 0) return forced_tier(forced);
  const CpuTier tier = widest(cpu_features());
  return {tier, cat(name_of(tier), ": widest this CPU has")};
}

const KernelTable& cpu_table(CpuTier tier) {
  static const std::array<KernelTable, 3> tables = build_tables();
  return tables[static_cast<size_t>(tier)];
}

Device Device::cpu(int threads) { return cpu(threads, choose_cpu_tier().tier); }

Device Device::cpu(int threads, CpuTier tier) {
  check(supports(cpu_features(), tier), cat("this CPU has no ", name_of(tier)));
  Device device;
  device.table_ = &cpu_table(tier);
  device.tier_ = tier;
  device.pool_ = std::make_unique<ThreadPool>(threads);
  device.stream_ = std::make_unique<Stream>(*device.pool_);
  device.memory_ = std::make_unique<Memory>();
  return device;
}

Device::Device(Device&&) noexcept = default;
Device& Device::operator=(Device&&) noexcept = default;
Device::~Device() = default;

int Device::threads() const { return pool_->size(); }

}  // namespace nibble
