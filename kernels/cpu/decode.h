// Weights as the scalar products read them.
#pragma once

#include <cstdint>

#include "kernels/table.h"

namespace nibble::cpu::scalar {

// Columns [k0, k1) of row n of a weight, rounded to its value_dtype (dense: as stored) and then to
// `to`, the compute type of a product.
void decode_row(const WeightView& w, int64_t n, int64_t k0, int64_t k1, DType to, double* out);

// Elements [k0, k1) of row n of a weight of WeightKind::blocks in fp32.
void blocks_row(const WeightView& w, int64_t n, int64_t k0, int64_t k1, double* out);

}  // namespace nibble::cpu::scalar
