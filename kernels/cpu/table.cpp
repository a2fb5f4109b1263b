// The tables of the CPU tiers, written out row by row: linkers drop static initializers from
// libraries in silence, a missing definition they report.
#include "kernels/cpu/table.h"

#include "kernels/cpu/rows.h"

namespace nibble::cpu {

void fill_scalar(KernelTable& table) {
  table.name = "scalar";
#define KERNEL(name, params) table.name = &scalar::name;
#define SIZE_ROW(name, params) table.name = &scalar::name;
#include "kernels/kernels.def"
#undef KERNEL
#undef SIZE_ROW
}

void overlay_avx2(KernelTable& table) {
  table.name = "avx2";
#define ROW(row) table.row = &avx2::row;
#include "kernels/cpu/avx2/rows.def"
#undef ROW
}

void overlay_avx512(KernelTable& table) {
  table.name = "avx512";
#define ROW(row) table.row = &avx512::row;
#include "kernels/cpu/avx512/rows.def"
#undef ROW
}

}  // namespace nibble::cpu
