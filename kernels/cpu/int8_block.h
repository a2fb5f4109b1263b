// Products of signed bytes, a block at a time, in the calling thread: what the int8 rows of the
// vector tiers stand on. Sums are int32 and exact, so that every way of computing them agrees.
#pragma once

#include <cstdint>

#include "kernels/table.h"

namespace nibble::cpu {

// Sums of more products of two bytes may leave int32.
constexpr int64_t kWidestInt8 = 131071;

void check_int8_product(const char* row, int64_t k);
void check_int8_weight(const char* row, const WeightView& w);

// A wider way to the same numbers, within the avx512 tier.
bool has_avx512_vnni();

// c (m, n) = a (m, k) · bᵀ, b (n, k).
struct Int8Block {
  int64_t m, n, k;
  const int8_t* a;
  int64_t lda;
  const int8_t* b;
  int64_t ldb;
  int32_t* c;
  int64_t ldc;
};
namespace avx2 {
void multiply_bytes(const Int8Block& block);
}
namespace avx512 {
void multiply_bytes(const Int8Block& block);
}
namespace avx512vnni {
void multiply_bytes(const Int8Block& block);
}

}  // namespace nibble::cpu
