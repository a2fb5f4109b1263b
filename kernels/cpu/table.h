// How a CPU table is filled: the scalar rows first, then what each wider tier does faster.
#pragma once

#include "kernels/table.h"

namespace nibble::cpu {

void fill_scalar(KernelTable& table);     // every row
void overlay_avx2(KernelTable& table);    // the rows of avx2/rows.def
void overlay_avx512(KernelTable& table);  // the rows of avx512/rows.def, on top of avx2's

}  // namespace nibble::cpu
