// What one update rule is to the rest of the optimizer: its numbers, its states, and what it does
// from step to step. optim/<rule>.cpp says all of it; the arithmetic is a kernel row's.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/table.h"
#include "optim/optimizer.h"

namespace nibble {

// mean: of either sign. square: a mean of squares or a sum of them; the default 8-bit codec keeps
// its root.
enum class StateKind : uint8_t { mean, square };

struct StateSpec {
  std::string name;  // as PyTorch calls it
  StateKind kind = StateKind::mean;
  double start = 0;
};

// |p| and the norm of what the rule caps or trusts (kernels.def, optimizer_norms).
struct Norms {
  double value = 0, update = 0;
};

struct Rule {
  OptimizerStep step;             // with the numbers that stay the same
  std::vector<StateSpec> states;  // in the order of the kernel
  // Numbers that change with step.step, where the rule has such.
  std::function<void(OptimizerStep&)> at_step;
  // step.scale of a parameter; unset: 1, and no norms are taken.
  std::function<double(const Norms&, const OptimizerStep&)> scale;
  bool norms_read_states = true;
};

#define OPTIMIZER(name, summary) Rule rule_##name(const RuleOptions& options);
#include "optim/optimizers.def"
#undef OPTIMIZER

// What adamw and adam share, which is everything; `name` stands in messages.
Rule adam_with_decay(const char* name, const RuleOptions& options);

// bitsandbytes' cap: an update whose norm is above max_unorm |p| is scaled down to it.
std::function<double(const Norms&, const OptimizerStep&)> norm_cap(double max_unorm);

// nesterov needs momentum and no dampening.
void check_nesterov(const OptimizerStep& step);

}  // namespace nibble
