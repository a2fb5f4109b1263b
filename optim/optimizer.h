// What every optimizer is: a step on the parameters' gradients, and a state that can be saved,
// resumed to the same bits, and counted in bytes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "autograd/ctx.h"
#include "autograd/var.h"
#include "quant/named_tensors.h"

namespace nibble {

struct OptimizerOptions {
  std::string name = "adamw";  // a row of optim/optimizers.def
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;  // decoupled; parameters with decays = false have none
  bool bnb_codec = false;   // 8-bit states: code v itself, as bitsandbytes does, instead of sqrt(v)
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Parameters outlive the optimizer. An unknown name is a UserError with the nearest one.
  static std::unique_ptr<Optimizer> make(const Ctx& ctx, const OptimizerOptions& options,
                                         std::vector<Parameter*> parameters);
  static std::vector<std::string> names();

  // `step` counts from 1. Every gradient is multiplied by grad_scale first (1 / tokens, clipping).
  // A parameter without a gradient stays as it is. Gradients are left in place.
  virtual void step(const Ctx& ctx, double lr, int64_t step, double grad_scale) = 0;
  // Handles on the live states, named "<parameter>.exp_avg", …: valid until the next step.
  virtual NamedTensors state() const = 0;
  // Copies what state() gave. Missing, unknown or mismatched tensors: UserError, exit 65.
  virtual void load(const NamedTensors& tensors) = 0;
  virtual int64_t bytes() const = 0;  // of the states
};

#define OPTIMIZER(name, summary)                                                    \
  std::unique_ptr<Optimizer> make_##name(const Ctx& ctx, const OptimizerOptions& o, \
                                         std::vector<Parameter*> parameters);
#include "optim/optimizers.def"
#undef OPTIMIZER

}  // namespace nibble
