// States that need not fit into memory: cut into pages, of which as many stay as a budget allows;
// the others lie in a file and pass through three buffers while a step walks over them. While one
// page is stepped, a thread writes the one before back and reads the one after.
#pragma once

#include "optim/state_store.h"

namespace nibble {

// With paging off, or when all fits into the budget, the same as make_resident_states: no file is
// made and nothing is read or written. A budget below three of the smallest pages (4096 elements of
// all states) is taken as that much.
std::unique_ptr<StateStore> make_paged_states(const Ctx& ctx, std::vector<StateGroup> groups,
                                              const PagingOptions& paging);

}  // namespace nibble
