// A device is a kernel table, a stream to run its rows on, and its memory. The CPU's tier is a pure
// function of CPUID and NIBBLE_CPU, never of a timing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/memory.h"
#include "kernels/table.h"

namespace nibble {

// Where rows run. CPU rows run at once on the pool; a GPU's are queued.
class Stream {
 public:
  explicit Stream(ThreadPool& pool) : pool_(&pool) {}
  ThreadPool& pool() const { return *pool_; }
  void wait() {}  // until everything queued so far is done

 private:
  ThreadPool* pool_;
};

enum class CpuTier : uint8_t { scalar, avx2, avx512 };
const char* name_of(CpuTier t);

struct CpuFeatures {
  bool avx2 = false, fma = false, f16c = false, bmi2 = false;
  bool avx512f = false, avx512bw = false, avx512vl = false, avx512dq = false;
  bool avx512_bf16 = false, avx512_vnni = false, avx_vnni = false;
  bool amx_bf16 = false, amx_int8 = false;
  std::string brand;
  std::vector<std::string> names() const;  // those present
};
const CpuFeatures& cpu_features();

struct TierChoice {
  CpuTier tier;
  std::string why;  // "avx512: widest this CPU has", "scalar: NIBBLE_CPU"
};
// NIBBLE_CPU forces a tier; a tier the CPU lacks or an unknown name is a UserError.
TierChoice choose_cpu_tier();
const KernelTable& cpu_table(CpuTier tier);

class Device {
 public:
  // threads 0: all usable.
  static Device cpu(int threads = 0);
  static Device cpu(int threads, CpuTier tier);
  Device(Device&&) noexcept;
  Device& operator=(Device&&) noexcept;
  ~Device();

  const KernelTable& kernels() const { return *table_; }
  Stream& stream() const { return *stream_; }
  Memory& memory() const { return *memory_; }
  CpuTier tier() const { return tier_; }
  int threads() const;

 private:
  Device() = default;
  const KernelTable* table_ = nullptr;
  CpuTier tier_ = CpuTier::scalar;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Memory> memory_;
};

}  // namespace nibble
