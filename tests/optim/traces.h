// The inputs of golden/quantization/optim, remade from their formulas, and its files.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nibble::testing {

// z(S, i) of the traces' README.
inline uint64_t mixed(uint64_t s, uint64_t i) {
  uint64_t z = i * 0x9E3779B97F4A7C15U + s * 0xD1B54A32D192ED03U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

inline float bell(uint64_t s, uint64_t i) {
  const uint64_t z = mixed(s, i);
  double sum = -131070;
  for (int field = 0; field < 4; ++field) sum += static_cast<double>((z >> (16 * field)) & 0xFFFF);
  return static_cast<float>(sum / 65536);
}

inline float trace_start(uint64_t seed, uint64_t part, uint64_t i) {
  return bell(seed * 7 + part, i);
}

inline float trace_gradient(uint64_t seed, uint64_t step, uint64_t part, uint64_t i) {
  if (i % 29 == 3) return 0;
  const uint64_t g = seed * 10000 + step * 10 + part * 2;
  return std::ldexp(bell(g, i), -static_cast<int>(mixed(g + 1, i) % 6) - 6);
}

struct TraceTensor {
  std::string dtype;  // "F32", "U8"
  std::string bytes;
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
};
using Trace = std::map<std::string, TraceTensor>;
Trace read_trace(const std::string& path);  // a safetensors file

struct TraceCase {
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0, gradient_scale = 1;
};
struct Traces {
  uint64_t seed = 0;
  int64_t sizes[2] = {};  // "big", "small"
  std::map<std::string, TraceCase> cases;
};
Traces read_traces(const std::string& directory);

}  // namespace nibble::testing
