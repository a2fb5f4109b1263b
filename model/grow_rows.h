// More rows for a table of tokens than its file holds.
#pragma once

#include "kernels/device.h"

namespace nibble {

// x, (n, width) or (n), up to `rows` rows: each new one is the mean of x's, summed in f64 in the
// order of the rows and rounded to x's dtype. It is the centre that transformers draws new rows
// around (mean resizing), without the drawing.
Tensor grow_rows(const Device& device, const Tensor& x, int64_t rows, Purpose purpose);

}  // namespace nibble
