// What every optimizer is: a step on the parameters' gradients, and a state that can be saved,
// resumed to the same bits, and counted in bytes. Which parameter gets which settings is decided
// above (optim/overrides.h); how a rule moves a parameter, in optim/<rule>.cpp.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autograd/ctx.h"
#include "autograd/var.h"
#include "optim/quantized_state.h"
#include "quant/named_tensors.h"

namespace nibble {

// Where states may live: all in memory, or pages of them in a file while their turn is far.
struct PagingOptions {
  bool paged = false;
  int64_t budget = 0;     // bytes of state kept in memory; 0: all of it
  std::string directory;  // where the unlinked file is made; "": a temporary folder
};

// Numbers an update rule may use; each optimizer's file says which. Unset = the rule's own default.
// A value that the rule does not use is refused by Optimizer::make (UserError "optim_args.<key>").
struct RuleOptions {
  std::optional<double> beta1, beta2, beta3, eps;
  std::optional<double> momentum, dampening;  // sgd, lars; momentum: rmsprop too
  std::optional<bool> nesterov, centered;
  std::optional<double> alpha;             // rmsprop: smoothing; ademamix: weight of the slow m
  std::optional<double> t_alpha, t_beta3;  // ademamix schedules (steps)
  std::optional<double> lr_decay, initial_accumulator_value;  // adagrad
  std::optional<double> max_unorm;          // cap on |update| / |p|: adam(w), lamb, lars
  std::optional<double> trust_coefficient;  // lars
};

// One entry of optimizer_overrides; the first match wins per field.
struct OptimizerOverride {
  std::string match;        // regular expression searched in the parameter's name
  std::optional<int> bits;  // 32 or 8
  std::optional<int64_t> block, min_elements;
  std::optional<double> lr;  // absolute peak rate; scheduled like learning_rate
  std::optional<double> weight_decay;
};

// What one parameter gets.
struct ParameterSettings {
  StateFormat state;
  double lr_factor = 1;  // × the scheduled rate (overrides, LoRA+)
  double weight_decay = 0;
};

struct OptimizerOptions {
  std::string rule = "adamw";  // a row of optim/optimizers.def
  RuleOptions numbers;
  PagingOptions paging;
  bool stochastic_rounding = false;  // of bf16 and f16 parameters; f32 ones are masters
  uint64_t seed = 0;                 // of stochastic rounding
};

struct TrainedParameter {
  Parameter* parameter;
  ParameterSettings settings;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Parameters and the device outlive the optimizer. An unknown rule is a UserError with the
  // nearest one.
  static std::unique_ptr<Optimizer> make(const Ctx& ctx, const OptimizerOptions& options,
                                         std::vector<TrainedParameter> parameters);
  static std::vector<std::string> names();  // of the rules

  // `step` counts from 1. Every gradient is multiplied by grad_scale first (1 / tokens, clipping).
  // A parameter without a gradient stays as it is. Gradients are left in place, and finite.
  virtual void step(const Ctx& ctx, double lr, int64_t step, double grad_scale) = 0;
  // The states, named "<parameter>.exp_avg", …: valid until the next step.
  virtual NamedTensors state() const = 0;
  // Copies what state() gave, or takes over what bitsandbytes saved ("<parameter>.state1", …:
  // bnb_state.h). Missing, unknown or mismatched tensors: UserError, exit 65.
  virtual void load(const NamedTensors& tensors) = 0;
  virtual int64_t bytes() const = 0;           // of the states, wherever they are
  virtual int64_t resident_bytes() const = 0;  // of them in memory now
};

}  // namespace nibble
