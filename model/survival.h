// What is left of an adapter's delta when the merged weights are quantized again: most of a light
// one falls between two codes.
#pragma once

#include <string>

#include "kernels/device.h"
#include "quant/plan.h"

namespace nibble {

// Over r = Q(W + Δ) − Q(W), the change that the codes realise.
struct Survival {
  std::string name;  // of the weight
  QuantSpec spec;
  double realised = 0, along = 0, asked = 0;  // ⟨r, r⟩, ⟨r, Δ⟩, ⟨Δ, Δ⟩

  double share() const { return asked > 0 ? along / asked : 1; }  // of Δ, in its own direction
  double ratio() const;                                           // ‖r‖ / ‖Δ‖
  double cosine() const;                                          // of r and Δ
};

// base and delta f32 (out, in). Q is the format with values in `value_dtype`; merged gets Q(W + Δ),
// flat.
Survival survive(const Device& device, const Tensor& base, const Tensor& delta,
                 const QuantSpec& spec, DType value_dtype, const std::string& name, Weight& merged);

}  // namespace nibble
