// Products of signed bytes as the formula.
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/int8_block.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {

void matmul_int8(Stream& stream, int64_t m, int64_t n, int64_t k, const int8_t* a, int64_t lda,
                 const int8_t* b, int64_t ldb, int32_t* c, int64_t ldc) {
  check_int8_product("matmul_int8", k);
  for_rows(stream.pool(), m, n * k, 16384, [&](int64_t i) {
    for (int64_t j = 0; j < n; ++j) {
      int32_t sum = 0;
      for (int64_t p = 0; p < k; ++p) sum += a[i * lda + p] * b[j * ldb + p];
      c[i * ldc + j] = sum;
    }
  });
}

}  // namespace nibble::cpu::scalar
