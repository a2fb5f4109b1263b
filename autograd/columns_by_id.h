// Columns of a wide matrix by ascending ids, beside a narrow one that holds just these: what an
// adapter's own rows of a head read and write among the logits.
#pragma once

#include <cstdint>
#include <span>

#include "autograd/ctx.h"

namespace nibble {

// wide[:, ids[i]] = narrow[:, i]; both of one dtype, ids strictly ascending.
void put_columns(const Ctx& ctx, const Tensor& narrow, std::span<const int32_t> ids,
                 const Tensor& wide);
// narrow[:, i] = wide[:, ids[i]]
void take_columns(const Ctx& ctx, const Tensor& wide, std::span<const int32_t> ids,
                  const Tensor& narrow);

}  // namespace nibble
