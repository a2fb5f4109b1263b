// A parameter that moves: made from a formula, with gradients from another.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "kernels/float_types.h"
#include "optim/optimizer.h"
#include "tests/optim/traces.h"

namespace nibble::testing {

inline void set_value(const Tensor& t, int64_t i, float x) {
  if (t.dtype() == DType::f32) t.data<float>()[i] = x;
  if (t.dtype() == DType::bf16) t.data<bf16>()[i] = to_bf16(x);
  if (t.dtype() == DType::f16) t.data<f16>()[i] = to_f16(x);
}
inline float value_at(const Tensor& t, int64_t i) {
  if (t.dtype() == DType::bf16) return widen(t.data<bf16>()[i]);
  if (t.dtype() == DType::f16) return widen(t.data<f16>()[i]);
  return t.data<float>()[i];
}
inline std::string bytes_of(const Tensor& t) {
  return {static_cast<const char*>(t.raw()), static_cast<size_t>(t.bytes())};
}

struct Subject {
  Parameter p;
  uint64_t part, seed;

  Subject(const Ctx& ctx, int64_t n, uint64_t which, DType dtype = DType::f32,
          uint64_t of_seed = 1001)
      : part(which), seed(of_seed) {
    p.name = cat("layer", which, ".weight");
    p.value = ctx.empty({n}, dtype, Purpose::adapter);
    p.grad = ctx.empty({n}, DType::f32, Purpose::gradient);
    for (int64_t i = 0; i < n; ++i) {
      set_value(p.value, i, trace_start(seed, part, static_cast<uint64_t>(i)));
    }
  }
  int64_t size() const { return p.value.numel(); }
  float value(int64_t i) const { return value_at(p.value, i); }
  // As the traces have it: rounded to the parameter's type.
  void set_gradient(int64_t step) {
    for (int64_t i = 0; i < size(); ++i) {
      float g = trace_gradient(seed, static_cast<uint64_t>(step), part, static_cast<uint64_t>(i));
      if (p.value.dtype() == DType::bf16) g = widen(to_bf16(g));
      if (p.value.dtype() == DType::f16) g = widen(to_f16(g));
      p.grad.data<float>()[i] = g;
    }
  }
};

inline std::unique_ptr<Optimizer> make_optimizer(const Ctx& ctx, const OptimizerOptions& options,
                                                 const ParameterSettings& settings,
                                                 const std::vector<Subject*>& subjects) {
  std::vector<TrainedParameter> trained;
  for (Subject* s : subjects) trained.push_back({&s->p, settings});
  return Optimizer::make(ctx, options, trained);
}

inline const Tensor& named(const NamedTensors& all, const std::string& name) {
  for (const auto& [key, tensor] : all) {
    if (key == name) return tensor;
  }
  throw Bug("no state " + name);
}

}  // namespace nibble::testing
