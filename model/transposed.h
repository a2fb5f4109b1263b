// Turning a matrix: the families whose weights lie (in, out) on file are (out, in) here.
#pragma once

#include "kernels/device.h"

namespace nibble {

// x (rows, cols) of any dtype → (cols, rows).
Tensor transposed(const Device& device, const Tensor& x, Purpose purpose);

}  // namespace nibble
