// Optimizer states as bitsandbytes saves them, turned into ours.
#pragma once

#include "optim/state_store.h"

namespace nibble {

// Whether tensors are named as its state_dict names them: "<parameter>.state1", or behind
// "__bnb_optimizer_quant_state__.".
bool is_bnb_state(const NamedTensors& tensors);

// Its state1, state2 (fp32, or codes with absmax1, absmax2 and the maps qmap1, qmap2; AdEMAMix
// stacks two means in state1) become the states of `groups`, in their names and formats. Codes that
// mean the same are kept; codes of v become codes of its root where that is how it is kept. `step`
// and `unorm_vec` are known and not needed. Anything else is a UserError, exit 65, naming the
// tensor: another map, block size or shape, what is missing, what no parameter has.
NamedTensors from_bnb_state(const Ctx& ctx, const NamedTensors& tensors,
                            const std::vector<StateGroup>& groups);

}  // namespace nibble
