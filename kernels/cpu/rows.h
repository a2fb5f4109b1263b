// Every row of kernels.def once per CPU folder: cpu/<row>.cpp defines nibble::cpu::scalar::<row>,
// the overlay folders define the rows they make faster and list those in their rows.def.
#pragma once

#include <cstdint>

#include "kernels/table.h"

#define KERNEL(name, params) void name params;
#define SIZE_ROW(name, params) int64_t name params;

namespace nibble::cpu {
namespace scalar {
#include "kernels/kernels.def"
}
namespace avx2 {
#include "kernels/kernels.def"
}
namespace avx512 {
#include "kernels/kernels.def"
}
}  // namespace nibble::cpu

#undef KERNEL
#undef SIZE_ROW
