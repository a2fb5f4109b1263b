// Test vectors of any float dtype, seen as doubles, and the tables a row is tried on.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/float_types.h"

namespace nibble::testing {

class Array {
 public:
  Array(DType dtype, const std::vector<double>& values)
      : dtype_(dtype), bytes_(values.size() * static_cast<size_t>(size_of(dtype))) {
    for (size_t i = 0; i < values.size(); ++i) set(static_cast<int64_t>(i), values[i]);
  }
  static Array zeros(DType dtype, int64_t n) {
    return Array(dtype, std::vector<double>(static_cast<size_t>(n)));
  }
  // About normal, the same on every machine.
  static Array random(DType dtype, int64_t n, uint64_t seed, double scale = 1) {
    std::vector<double> values(static_cast<size_t>(n));
    uint64_t z = seed * 0xD1B54A32D192ED03u + 1;
    for (double& v : values) {
      double sum = 0;
      for (int k = 0; k < 4; ++k) {
        z = z * 6364136223846793005u + 1442695040888963407u;
        sum += static_cast<double>(z >> 33) * 0x1p-31 - 0.5;
      }
      v = sum * scale * 1.7;
    }
    return Array(dtype, values);
  }

  int64_t size() const { return static_cast<int64_t>(bytes_.size()) / size_of(dtype_); }
  DType dtype() const { return dtype_; }
  void* raw() { return bytes_.data(); }
  const void* raw() const { return bytes_.data(); }
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  bool operator==(const Array& o) const { return dtype_ == o.dtype_ && bytes_ == o.bytes_; }
  // Where element i begins: a window on a wider matrix.
  void* at(int64_t i) { return bytes_.data() + i * size_of(dtype_); }

  double operator[](int64_t i) const {
    switch (dtype_) {
      case DType::f64:
        return get<double>(i);
      case DType::f32:
        return static_cast<double>(get<float>(i));
      case DType::bf16:
        return static_cast<double>(widen(get<bf16>(i)));
      default:
        return static_cast<double>(widen(get<f16>(i)));
    }
  }
  void set(int64_t i, double x) {
    switch (dtype_) {
      case DType::f64:
        return put<double>(i, x);
      case DType::f32:
        return put<float>(i, static_cast<float>(x));
      case DType::bf16:
        return put<bf16>(i, narrow<bf16>(x));
      default:
        return put<f16>(i, narrow<f16>(x));
    }
  }

 private:
  template <class T>
  T get(int64_t i) const {
    T x;
    std::memcpy(&x, bytes_.data() + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return x;
  }
  template <class T>
  void put(int64_t i, T x) {
    std::memcpy(bytes_.data() + i * static_cast<int64_t>(sizeof(T)), &x, sizeof(T));
  }
  DType dtype_;
  std::vector<uint8_t> bytes_;
};

// Half a unit in the last place of a value near 1, and a little for the arithmetic before it.
inline double tolerance(DType t) {
  return t == DType::f64 ? 1e-13 : t == DType::f32 ? 1e-6 : t == DType::bf16 ? 0x1.1p-8 : 0x1.1p-11;
}

inline void expect_near(const Array& got, const std::vector<double>& want, double small = 1,
                        double loose = 1) {
  ASSERT_EQ(got.size(), static_cast<int64_t>(want.size()));
  for (int64_t i = 0; i < got.size(); ++i) {
    const double w = want[static_cast<size_t>(i)];
    ASSERT_NEAR(got[i], w, loose * tolerance(got.dtype()) * (std::abs(w) + 1e-2 * small)) << i;
  }
}

// Calls test(device, dtype) on every tier of this machine, f64 on the scalar one only.
template <class Test>
void on_every_tier(const Test& test) {
  for (const CpuTier tier : {CpuTier::scalar, CpuTier::avx2, CpuTier::avx512}) {
    const CpuFeatures& f = cpu_features();
    if (tier != CpuTier::scalar && !f.avx2) continue;
    if (tier == CpuTier::avx512 && !(f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq)) continue;
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
      if (dtype == DType::f64 && tier != CpuTier::scalar) continue;
      const ::testing::ScopedTrace trace(__FILE__, __LINE__,
                                         cat(name_of(tier), " ", name_of(dtype)));
      const Device device = Device::cpu(2, tier);
      test(device, dtype);
    }
  }
}

}  // namespace nibble::testing
