// The inputs of golden/quantization/optim, remade from their formulas, its list of cases and its
// files.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "optim/optimizer.h"
#include "tests/support/generator.h"

namespace nibble::testing {

inline float trace_start(uint64_t seed, uint64_t part, uint64_t i) {
  return bell(seed * 7 + part, i);
}

inline float trace_gradient(uint64_t seed, uint64_t step, uint64_t part, uint64_t i) {
  if (i % 29 == 3) return 0;
  const uint64_t g = seed * 10000 + step * 10 + part * 2;
  return std::ldexp(bell(g, i), -static_cast<int>(mixed(g + 1, i) % 6) - 6);
}

struct TraceTensor {
  std::string dtype;  // "F32", "U8", "BF16"
  std::vector<int64_t> shape;
  std::string bytes;
  int64_t size() const;
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
  float at(int64_t i) const;  // F32 or BF16
};
using Trace = std::map<std::string, TraceTensor>;
Trace read_trace(const std::string& path);  // a safetensors file

// One entry of cases.json. The rule and its bits are in the name: "own_lion8_bf16", "lamb32".
struct TraceCase {
  std::string file, rule;
  int bits = 32;
  bool own = false;      // the rules of the GPU kernels, not what the CPU library did
  bool refused = false;  // bitsandbytes threw: there is no file
  DType dtype = DType::f32;
  RuleOptions numbers;
  double lr = 1e-3, weight_decay = 0, gradient_scale = 1;
};
struct Traces {
  uint64_t seed = 0;
  std::map<std::string, std::pair<uint64_t, int64_t>> parts;  // "big": {0, elements}, "small"
  int64_t steps = 0;
  std::vector<TraceCase> cases;
};
Traces read_traces(const std::string& directory);

}  // namespace nibble::testing
