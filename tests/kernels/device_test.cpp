#include "kernels/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

namespace nibble {
namespace {

using ::testing::HasSubstr;

struct ForcedTier {
  explicit ForcedTier(const char* name) {
    const char* old = std::getenv("NIBBLE_CPU");
    had_ = old != nullptr;
    if (had_) old_ = old;
    if (name != nullptr) {
      setenv("NIBBLE_CPU", name, 1);
    } else {
      unsetenv("NIBBLE_CPU");
    }
  }
  ~ForcedTier() {
    if (had_) {
      setenv("NIBBLE_CPU", old_.c_str(), 1);
    } else {
      unsetenv("NIBBLE_CPU");
    }
  }

 private:
  bool had_;
  std::string old_;
};

TEST(CpuTier, TheScalarTableHasEveryRow) {
  const KernelTable& table = cpu_table(CpuTier::scalar);
#define KERNEL(row, params) EXPECT_NE(table.row, nullptr) << #row;
#define SIZE_ROW(row, params) EXPECT_NE(table.row, nullptr) << #row;
#include "kernels/kernels.def"
#undef KERNEL
#undef SIZE_ROW
  EXPECT_STREQ(table.name, "scalar");
}

TEST(CpuTier, AWiderTableLacksNothingTheScalarOneHas) {
  for (const CpuTier tier : {CpuTier::avx2, CpuTier::avx512}) {
    const KernelTable& table = cpu_table(tier);
    EXPECT_STREQ(table.name, name_of(tier));
#define KERNEL(row, params) EXPECT_NE(table.row, nullptr) << #row;
#define SIZE_ROW(row, params) EXPECT_NE(table.row, nullptr) << #row;
#include "kernels/kernels.def"
#undef KERNEL
#undef SIZE_ROW
  }
}

TEST(CpuTier, WithoutOrdersTheWidestIsTaken) {
  const ForcedTier none(nullptr);
  const CpuFeatures& f = cpu_features();
  const TierChoice choice = choose_cpu_tier();
  if (f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq) {
    EXPECT_EQ(choice.tier, CpuTier::avx512);
  } else {
    EXPECT_EQ(choice.tier, f.avx2 && f.fma ? CpuTier::avx2 : CpuTier::scalar);
  }
  EXPECT_THAT(choice.why, HasSubstr("widest"));
}

TEST(CpuTier, NibbleCpuForcesATier) {
  const ForcedTier scalar("scalar");
  EXPECT_EQ(choose_cpu_tier().tier, CpuTier::scalar);
  EXPECT_EQ(choose_cpu_tier().why, "scalar: NIBBLE_CPU");
  EXPECT_STREQ(Device::cpu(1).kernels().name, "scalar");
}

TEST(CpuTier, AnUnknownNameIsTheUsersMistake) {
  const ForcedTier wrong("sse9");
  try {
    choose_cpu_tier();
    FAIL();
  } catch (const UserError& e) {
    EXPECT_THAT(e.what(), HasSubstr("sse9"));
    EXPECT_THAT(e.hint(), HasSubstr("avx512"));
  }
}

TEST(CpuFeatures, NamesOnlyWhatIsThere) {
  CpuFeatures f;
  EXPECT_TRUE(f.names().empty());
  f.avx2 = f.amx_int8 = true;
  EXPECT_EQ(f.names(), (std::vector<std::string>{"avx2", "amx_int8"}));
  EXPECT_FALSE(cpu_features().brand.empty());
}

TEST(Device, HasTheThreadsItWasAskedFor) {
  Device device = Device::cpu(3, CpuTier::scalar);
  EXPECT_EQ(device.threads(), 3);
  const Device moved = std::move(device);
  EXPECT_EQ(moved.stream().pool().size(), 3);
}

}  // namespace
}  // namespace nibble
