// Clipping by the global norm (Pascanu et al. 2013).
#pragma once

#include <span>

#include "autograd/ctx.h"
#include "autograd/var.h"

namespace nibble {

// L2 norm of all gradients × scale, in fp64: fixed partials within a parameter, parameters joined
// in the order given. Not finite when a gradient is not.
double global_norm(const Ctx& ctx, std::span<Parameter* const> parameters, double scale = 1);

// min(1, max_norm / (norm + 1e-6)); 1 when max_norm is 0: no clipping.
double clip_factor(double norm, double max_norm);

}  // namespace nibble
