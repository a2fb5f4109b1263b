// What several rules share.
#include "optim/rule.h"

namespace nibble {

std::function<double(const Norms&, const OptimizerStep&)> norm_cap(double max_unorm) {
  return [max_unorm](const Norms& norm, const OptimizerStep&) {
    const double most = max_unorm * norm.value;
    return norm.update > most ? most / norm.update : 1;
  };
}

void check_nesterov(const OptimizerStep& step) {
  if (!step.nesterov || (step.momentum != 0 && step.dampening == 0)) return;
  throw UserError("optim_args.nesterov", "nesterov needs momentum above 0 and no dampening",
                  "remove nesterov, or set momentum: 0.9 and dampening: 0");
}

}  // namespace nibble
