#include "model/survival.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace nibble {
namespace {

Weight coded(const Device& device, const Tensor& values, const QuantSpec& spec, DType value_dtype,
             const std::string& name) {
  Weight weight = quantize(device, values, spec, name, Purpose::staging);
  // The codes are made of the exact sum; what they decode to is rounded as the model's weights are.
  if (rule_of(weight.format).coded) weight.value_dtype = value_dtype;
  return weight;
}

}  // namespace

double Survival::ratio() const { return asked > 0 ? std::sqrt(realised / asked) : 1; }

double Survival::cosine() const {
  const double norms = std::sqrt(realised * asked);
  return norms > 0 ? along / norms : 0;
}

Survival survive(const Device& device, const Tensor& base, const Tensor& delta,
                 const QuantSpec& spec, DType value_dtype, const std::string& name,
                 Weight& merged) {
  check(base.contiguous() && delta.contiguous(), "survive: matrices without gaps");
  check_eq(base.shape(), delta.shape(), "survive: shapes");
  Tensor sum = Tensor::empty(device.memory(), base.shape(), DType::f32, Purpose::staging);
  const int64_t n = base.numel();
  const float *w = base.data<float>(), *d = delta.data<float>();
  for (int64_t i = 0; i < n; ++i) sum.data<float>()[i] = w[i] + d[i];
  merged = coded(device, sum, spec, value_dtype, name);
  const Tensor after = dequantize(device, merged, DType::f32, Purpose::staging);
  sum = Tensor();
  const Tensor before = dequantize(device, coded(device, base, spec, value_dtype, name), DType::f32,
                                   Purpose::staging);
  Survival s;
  s.name = name;
  s.spec = spec;
  for (int64_t i = 0; i < n; ++i) {
    const double r = double{after.data<float>()[i]} - before.data<float>()[i];
    s.realised += r * r;
    s.along += r * d[i];
    s.asked += double{d[i]} * d[i];
  }
  return s;
}

}  // namespace nibble
