// The three products of a linear layer, with their scratch: y = x Wᵀ, dx = dy W, dw += dyᵀ x. The
// type of x and dy is the compute type of the product.
#pragma once

#include "autograd/ctx.h"

namespace nibble {

// A master or an activation (out, in) as a product sees it; the kernel rounds it to the compute
// type.
WeightView dense_view(const Tensor& w);

// y (m, out) = alpha · x (m, in) Wᵀ, or y += …; y in the compute type or its accumulator.
void product(const Ctx& ctx, const Tensor& x, const WeightView& w, const Tensor& y,
             double alpha = 1, bool accumulate = false);
// y (m, out) = x Wᵀ as LLM.int8() has it: W of rows of bytes, and each row of x quantized too, all
// but its own elements of at least `threshold` (0: all); no row depends on its company.
void product_int8(const Ctx& ctx, const Tensor& x, const WeightView& w, double threshold,
                  const Tensor& y);
// dx (m, in) = alpha · dy (m, out) W, or dx += …
void product_dx(const Ctx& ctx, const Tensor& dy, const WeightView& w, const Tensor& dx,
                double alpha = 1, bool accumulate = false);
// dw (out, in) += alpha · dyᵀ x, rows in order, in the accumulator's dtype.
void product_dw(const Ctx& ctx, const Tensor& dy, const Tensor& x, const Tensor& dw,
                double alpha = 1);

}  // namespace nibble
