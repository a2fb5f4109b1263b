// AdamW (Loshchilov and Hutter 2019). With g the scaled gradient and t the step from 1:
//   p -= lr wd p,  m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,
//   p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)
// Masters and arithmetic are fp32; the states are kept as a StateFormat says.
#pragma once

#include "optim/optimizer.h"
#include "optim/quantized_state.h"

namespace nibble {

class AdamW : public Optimizer {
 public:
  AdamW(const Ctx& ctx, const OptimizerOptions& options, std::vector<Parameter*> parameters,
        const StateFormat& format);
  void step(const Ctx& ctx, double lr, int64_t step, double grad_scale) override;
  NamedTensors state() const override;
  void load(const NamedTensors& tensors) override;
  int64_t bytes() const override;

 private:
  struct Entry {
    Parameter* parameter;
    StateTensor m, v;
  };
  std::string name_of_v(const Entry& e) const;

  OptimizerOptions options_;
  StateFormat format_;
  std::vector<Entry> entries_;
};

}  // namespace nibble
