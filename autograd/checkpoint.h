// Gradient checkpointing (Chen et al. 2016): a segment keeps its input and runs again in backward
// with the same rows, so its numbers are the same bits.
#pragma once

#include <functional>

#include "autograd/tape.h"

namespace nibble {

// Runs `segment` without recording and puts one node on the tape that reruns it with recording.
// Recorded whether or not the input wants a gradient, because a parameter inside may train.
// `segment` uses the Ctx it is given (a ForwardContext inside is built on that one), and everything
// it captures stays as it is until backward.
Var checkpoint(Ctx& ctx, std::function<Var(Ctx&, const Var&)> segment, const Var& input);

}  // namespace nibble
