// The numbers of an OptimizerStep as the inner loops use them: computed in fp64 once a step, then
// rounded. Overlay files include this: plain data and one function, compiled once.
#pragma once

#include "kernels/table.h"

namespace nibble::cpu {

struct StepFactors {
  UpdateRule rule;
  bool momentum, nesterov, centered;  // whether those states or terms exist
  bool first;                         // step 1
  bool late_decay;                    // decay behind the update
  float grad_scale;
  float decay;         // 1 - lr wd
  float weight_decay;  // where it is part of the gradient or of the update
  float beta1, rest1;  // 1 - beta1; sgd, lars, rmsprop: momentum, 1 - dampening
  float beta2, rest2;  // of squares
  float beta3, rest3;  // of a third mean
  float rate;          // the last factor of an update
  float inner;         // a factor inside it: sqrt(1 - b2^t) / (1 - b1^t); ademamix 1 / (1 - b1^t)
  float eps;           // adam, ademamix, lamb: × sqrt(1 - b2^t)
  float alpha;         // ademamix
};

StepFactors step_factors(const OptimizerStep& step);

}  // namespace nibble::cpu
