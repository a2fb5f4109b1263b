// Random weights in every shape the products read, with the value of each element computed apart
// from the code under test: rounding by nearbyint on a power of two, the layouts written out.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/table.h"

namespace nibble::testing {

// x to the nearest number of a type with `digits` significant bits and exponents from `lowest`.
inline double round_to(double x, int digits, int lowest) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int exponent = std::max(std::ilogb(x), lowest) - digits + 1;
  return std::ldexp(std::nearbyint(std::ldexp(x, -exponent)), exponent);
}

inline double round_to(DType t, double x) {
  switch (t) {
    case DType::bf16:
      return round_to(x, 8, -126);
    case DType::f16:
      return round_to(x, 11, -14);
    case DType::f32:
      return static_cast<float>(x);
    default:
      return x;
  }
}

// A value of a float type as bytes; x is one of its numbers.
inline void append(std::vector<uint8_t>& bytes, DType t, double x) {
  const auto put = [&](auto v) {
    const auto* p = reinterpret_cast<const uint8_t*>(&v);
    bytes.insert(bytes.end(), p, p + sizeof v);
  };
  const float f = static_cast<float>(x);
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if (t == DType::f64) put(x);
  if (t == DType::f32) put(f);
  if (t == DType::bf16) put(static_cast<uint16_t>(bits >> 16));
  if (t == DType::f16) {
    const double size = std::fabs(x);
    int half = 0;
    if (size >= std::ldexp(1, -14)) {
      const int e = std::ilogb(size);
      half = (e + 14) * 1024 + static_cast<int>(std::ldexp(size, 10 - e));
    } else {
      half = static_cast<int>(std::ldexp(size, 24));
    }
    put(static_cast<uint16_t>(half | (x < 0 ? 0x8000 : 0)));
  }
}

inline double read_as(DType t, const void* p, int64_t i) {
  if (t == DType::f64) return static_cast<const double*>(p)[i];
  if (t == DType::f32) return static_cast<const float*>(p)[i];
  const uint16_t h = static_cast<const uint16_t*>(p)[i];
  if (t == DType::bf16) {
    const uint32_t bits = static_cast<uint32_t>(h) << 16;
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
  }
  const int e = h >> 10 & 31, fraction = h & 1023;
  if (e == 31) return fraction != 0 ? NAN : h & 0x8000 ? -INFINITY : INFINITY;
  const double size = e == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, e - 25);
  return h & 0x8000 ? -size : size;
}

// (rows, cols) numbers of a type, `pitch` apart.
struct Matrix {
  int64_t rows = 0, cols = 0, pitch = 0;
  DType dtype = DType::f32;
  std::vector<uint8_t> bytes;

  Matrix() = default;
  Matrix(int64_t r, int64_t c, DType t, int64_t p = 0)
      : rows(r),
        cols(c),
        pitch(p > 0 ? p : c),
        dtype(t),
        bytes(static_cast<size_t>(r * pitch * size_of(t))) {}
  static Matrix random(int64_t r, int64_t c, DType t, uint32_t seed, int64_t p = 0) {
    Matrix m(r, c, t, p);
    m.bytes.clear();
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    for (int64_t i = 0; i < m.rows * m.pitch; ++i) append(m.bytes, t, round_to(t, normal(random)));
    return m;
  }
  double at(int64_t r, int64_t c) const { return read_as(dtype, bytes.data(), r * pitch + c); }
  void* data() { return bytes.data(); }
  const void* data() const { return bytes.data(); }
  const uint8_t* row(int64_t r) const { return bytes.data() + r * pitch * size_of(dtype); }
};

constexpr float kNf4[16] = {-1.0f,
                            -0.6961928009986877f,
                            -0.5250730514526367f,
                            -0.39491748809814453f,
                            -0.28444138169288635f,
                            -0.18477343022823334f,
                            -0.09105003625154495f,
                            0.0f,
                            0.07958029955625534f,
                            0.16093020141124725f,
                            0.24611230194568634f,
                            0.33791524171829224f,
                            0.44070982933044434f,
                            0.5626170039176941f,
                            0.7229568362236023f,
                            1.0f};

struct TestWeight {
  WeightView view;
  std::vector<double> values;  // (out, in), before the compute type
  std::vector<uint8_t> codes, absmax_codes;
  std::vector<float> absmax, absmax2, map;
  std::string name;

  TestWeight() = default;
  TestWeight(const TestWeight&) = delete;
  TestWeight(TestWeight&&) = default;
  double at(int64_t n, int64_t k, DType compute) const {
    return round_to(compute, values[static_cast<size_t>(n * view.in + k)]);
  }
};

inline TestWeight dense_weight(int64_t out, int64_t in, DType t, uint32_t seed, int64_t pitch = 0) {
  Matrix m = Matrix::random(out, in, t, seed, pitch);
  TestWeight w;
  w.name = std::string("dense ") + name_of(t);
  for (int64_t n = 0; n < out; ++n) {
    for (int64_t k = 0; k < in; ++k) w.values.push_back(m.at(n, k));
  }
  w.codes = std::move(m.bytes);
  w.view.kind = WeightKind::dense;
  w.view.out = out, w.view.in = in, w.view.dtype = t, w.view.pitch = m.pitch;
  w.view.codes = w.codes.data();
  return w;
}

struct FourBit {
  int64_t block = 64;
  Layout layout = Layout::flat;
  bool nested = false;
  DType value_dtype = DType::f32;
  int64_t block2 = 256;
};

// The same seed gives the same codes and scales in both layouts.
inline TestWeight table4_weight(int64_t out, int64_t in, const FourBit& f, uint32_t seed) {
  TestWeight w;
  w.name = std::string(f.layout == Layout::flat ? "flat " : "panel ") + name_of(f.value_dtype) +
           (f.nested ? " nested" : "");
  std::mt19937 random(seed);
  const int64_t blocks = (out * in + f.block - 1) / f.block;
  std::vector<uint8_t> nibbles(static_cast<size_t>(out * in)), q(static_cast<size_t>(blocks));
  std::vector<float> scales(static_cast<size_t>(blocks));
  for (auto& n : nibbles) n = random() & 15;
  for (auto& c : q) c = random() & 255;
  for (int i = 0; i < 256; ++i) w.map.push_back(static_cast<float>(i - 128) / 127.0f * 0.3f);
  for (int64_t g = 0; g <= blocks / f.block2; ++g) {
    w.absmax2.push_back(0.5f + static_cast<float>(random() % 1000) / 1000.0f);
  }
  w.view.offset = 0.613f;
  for (int64_t b = 0; b < blocks; ++b) {
    const auto i = static_cast<size_t>(b);
    if (f.nested) {
      const float product = w.map[q[i]] * w.absmax2[static_cast<size_t>(b / f.block2)];
      scales[i] = product + w.view.offset;
    } else {
      scales[i] = static_cast<float>(random() % 100000) / 70000.0f;
    }
  }
  for (int64_t i = 0; i < out * in; ++i) {
    const float value =
        kNf4[nibbles[static_cast<size_t>(i)]] * scales[static_cast<size_t>(i / f.block)];
    w.values.push_back(round_to(f.value_dtype, value));
  }
  if (f.layout == Layout::flat) {
    w.codes.assign(static_cast<size_t>((out * in + 1) / 2), 0);
    for (size_t i = 0; i < nibbles.size(); ++i) {
      w.codes[i / 2] |= static_cast<uint8_t>(nibbles[i] << (i % 2 == 0 ? 4 : 0));
    }
    (f.nested ? (void)(w.absmax_codes = q) : (void)(w.absmax = scales));
  } else {
    const int64_t panels = (out + 15) / 16, per_row = in / f.block;
    w.codes.assign(static_cast<size_t>(panels * (in / 64) * 512), 0);
    const auto scale_count = static_cast<size_t>(panels * per_row * 16);
    f.nested ? w.absmax_codes.assign(scale_count, 0) : w.absmax.assign(scale_count, 0);
    for (int64_t n = 0; n < out; ++n) {
      for (int64_t k = 0; k < in; ++k) {
        const int64_t tile = n / 16 * (in / 64) + k / 64, line = n % 16 / 2;
        const int64_t byte = 4 * (k % 16) + k % 64 / 16;
        w.codes[static_cast<size_t>(tile * 512 + line * 64 + byte)] |=
            static_cast<uint8_t>(nibbles[static_cast<size_t>(n * in + k)] << (n % 2 == 0 ? 0 : 4));
      }
      for (int64_t b = 0; b < per_row; ++b) {
        const auto to = static_cast<size_t>((n / 16 * per_row + b) * 16 + n % 16);
        const auto from = static_cast<size_t>(n * per_row + b);
        if (f.nested) {
          w.absmax_codes[to] = q[from];
        } else {
          w.absmax[to] = scales[from];
        }
      }
    }
  }
  w.view.kind = WeightKind::table4;
  w.view.layout = f.layout;
  w.view.out = out, w.view.in = in, w.view.value_dtype = f.value_dtype;
  w.view.block = f.block, w.view.block2 = f.block2;
  w.view.codes = w.codes.data();
  if (f.nested) {
    w.view.absmax_codes = w.absmax_codes.data();
    w.view.absmax2 = w.absmax2.data();
    w.view.map = w.map.data();
  } else {
    w.view.absmax = w.absmax.data();
  }
  std::memcpy(w.view.table, kNf4, sizeof kNf4);
  return w;
}

// Signed bytes with a scale a row, the code -128 among them.
inline TestWeight rows8_weight(int64_t out, int64_t in, DType value_dtype, uint32_t seed,
                               int64_t pitch = 0) {
  TestWeight w;
  w.name = std::string("rows8 ") + name_of(value_dtype);
  std::mt19937 random(seed);
  w.view.kind = WeightKind::rows8;
  w.view.out = out, w.view.in = in, w.view.value_dtype = value_dtype;
  w.view.pitch = pitch > 0 ? pitch : in;
  w.codes.resize(static_cast<size_t>(out * w.view.pitch));
  for (auto& c : w.codes) c = static_cast<uint8_t>(random());
  for (int64_t n = 0; n < out; ++n) {
    const float absmax = n == 1 ? 0 : static_cast<float>(random() % 100000 + 1) / 70000.0f;
    w.absmax.push_back(absmax);
    for (int64_t k = 0; k < in; ++k) {
      const auto code = static_cast<int8_t>(w.codes[static_cast<size_t>(n * w.view.pitch + k)]);
      w.values.push_back(round_to(value_dtype, static_cast<float>(code) * (absmax / 127.0f)));
    }
  }
  w.view.codes = w.codes.data();
  w.view.absmax = w.absmax.data();
  return w;
}

// The tiers this machine can run.
inline std::vector<CpuTier> usable_tiers() {
  const CpuFeatures& f = cpu_features();
  std::vector<CpuTier> tiers{CpuTier::scalar};
  if (f.avx2 && f.fma && f.f16c && f.bmi2) tiers.push_back(CpuTier::avx2);
  if (tiers.size() == 2 && f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq) {
    tiers.push_back(CpuTier::avx512);
  }
  return tiers;
}

}  // namespace nibble::testing
