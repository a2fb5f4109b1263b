// What the int8 rows refuse, in baseline code.
#include "kernels/cpu/int8_block.h"

#include "base/errors.h"
#include "kernels/device.h"

namespace nibble::cpu {

void check_int8_product(const char* row, int64_t k) {
  check(k <= kWidestInt8, cat(row, ": sums of ", k, " products of bytes may leave int32"));
}

void check_int8_weight(const char* row, const WeightView& w) {
  check(w.kind == WeightKind::rows8, cat(row, ": the weight is no rows of bytes"));
  check_int8_product(row, w.in);
}

bool has_avx512_vnni() { return cpu_features().avx512_vnni; }

}  // namespace nibble::cpu
