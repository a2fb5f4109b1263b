// The kernel table: one row per kernel, filled by a backend. A null row means "unsupported here".
#pragma once

#include <cstdint>

#include "base/random.h"
#include "kernels/tensor.h"

namespace nibble {

class Stream;

// gelu by the error function; gelu_tanh is the usual approximation of it, also known as gelu_new
// and gelu_pytorch_tanh; relu2 is relu squared.
enum class Activation : uint8_t { silu, gelu, gelu_tanh, relu, relu2 };

// What becomes of logits before softmax: z' = cap tanh(scale z / cap), or scale z where cap is 0.
struct LogitShape {
  double scale = 1;
  double cap = 0;
};

// How attention reads its heads. q, k, v and out are (tokens, heads × head_dim), head h starting at
// column h × head_dim; query head h reads key head h / (heads / kv_heads).
struct AttentionShape {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1;
  bool causal = true;
  int64_t window = 0;  // keys a token sees, itself included; 0: all before it
  float softcap = 0;   // s = cap × tanh(s / cap); 0: none
};

// The KV blocks of a batch: every layer's cache is (blocks, block_tokens, kv_heads × head_dim).
struct PagedKv {
  void* keys = nullptr;
  void* values = nullptr;
  DType dtype = DType::f32;
  int64_t block_tokens = 16;
  const int32_t* block_table = nullptr;  // (sequences, max_blocks)
  int64_t max_blocks = 0;
};

enum class WeightKind : uint8_t { dense, table4, blocks, rows8 };
enum class Layout : uint8_t { flat, panel };

// How one block of WeightKind::blocks lies in memory, byte by byte, as GGUF files have it; h is an
// f16. A block of 32: element i has the low nibble of qs[i], or for i ≥ 16 the high one of
// qs[i - 16]; bit i of qh is its fifth bit.
//   q8_0  h d, i8 qs[32]                        d × qs[i]
//   q4_0  h d, qs[16]                           d × (nibble - 8)
//   q4_1  h d, h m, qs[16]                      d × nibble + m
//   q5_0  h d, qh[4], qs[16]                    d × (fifth|nibble - 16)
//   q5_1  h d, h m, qh[4], qs[16]               d × fifth|nibble + m
// A block of 256 has groups of 32 (q6_k: 16) with scales of their own; group g of 32 has the low
// (g even) or high nibbles of qs[32 (g / 2) …]:
//   q4_k  h d, h dmin, scales[12], qs[128]          (d × sc[g]) × nibble - dmin × m[g]
//   q5_k  h d, h dmin, scales[12], qh[32], qs[128]  the same; bit g of qh[i % 32] is the fifth bit
//   q6_k  ql[128], qh[64], i8 scales[16], h d       (d × scales[i / 16]) × (q - 32), 128 elements
//         a half: group g of a half has nibbles g / 2 of ql[32 (g % 2) …] and bits 2g, 2g + 1 of qh
// scales[12] are eight pairs of 6 bits: sc[g], m[g] for g < 4 are the low bits of bytes g and 4 +
// g; for g ≥ 4 the nibbles of byte 4 + g below the two high bits of bytes g - 4 and g.
enum class BlockCode : uint8_t { q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k };

// A weight matrix as rows of the table see it: a value table and scales, never a format's name.
// dense: `codes` are out × in values of `dtype`, rows `pitch` apart.
// table4, flat: two codes a byte, element 2i in the high nibble, blocks of `block` over the flat
//   row-major matrix, one absmax per block.
// table4, panel (in % block == 0, block % 64 == 0): codes [ceil(out/16)][in/64] tiles of 512 bytes;
//   line g (64 bytes) of a tile holds rows 2g (low nibbles) and 2g+1 (high nibbles), byte 4c+t is
//   column 16t+c; scales [ceil(out/16)][in/block][16], rows beyond `out` have scale 0;
//   nested codes lie in the same order.
// blocks (in % block == 0): rows of in / block blocks of block_bytes each, rows `pitch` bytes
// apart,
//   laid out as `code` says; every operation of the value in fp32, rounded.
// rows8: codes are out × in signed bytes, rows `pitch` bytes apart, absmax one a row; the value is
//   code × (absmax / levels) in fp32, each rounded, then to value_dtype and to the compute type.
// The value of an element of table4 is table[code] × absmax in fp32, rounded to value_dtype, then
// to the compute type of the product. Nested absmax: map[code] × absmax2[b / block2] + offset, each
// rounded, b = row × (in / block) + k / block counted over the flat matrix (flat: element / block).
struct WeightView {
  WeightKind kind = WeightKind::dense;
  Layout layout = Layout::flat;
  int64_t out = 0, in = 0;
  DType dtype = DType::f32;  // dense: of the values
  DType value_dtype = DType::f32;
  int64_t pitch = 0;  // dense: elements between rows; blocks, rows8: bytes
  const void* codes = nullptr;
  int64_t block = 64;
  BlockCode code = BlockCode::q8_0;       // blocks
  int64_t block_bytes = 0;                // blocks
  float levels = 127;                     // rows8: the code of absmax
  const float* absmax = nullptr;          // null when nested
  const uint8_t* absmax_codes = nullptr;  // nested
  const float* absmax2 = nullptr;
  const float* map = nullptr;  // 256 entries
  int64_t block2 = 256;
  float offset = 0;
  float table[16] = {};
};

// How a parameter moves; the formulas stand beside their code in
// kernels/cpu/simd/optimizer_rules.inc.
enum class UpdateRule : uint8_t { adam, lion, sgd, rmsprop, adagrad, ademamix, lamb, lars };

// What one step of an update rule needs beside values, gradients and states. A rule reads the
// numbers that its formula names.
struct OptimizerStep {
  UpdateRule rule = UpdateRule::adam;
  double lr = 0, weight_decay = 0, eps = 0;
  double beta1 = 0, beta2 = 0, beta3 = 0;
  double alpha = 0;     // rmsprop: smoothing; ademamix: weight of the slow mean
  double momentum = 0;  // sgd, lars, rmsprop; 0: that state does not exist
  double dampening = 0;
  bool nesterov = false, centered = false;
  int64_t step = 1;       // counts from 1
  double grad_scale = 1;  // every gradient is multiplied by it (1 / tokens, clipping)
  double scale = 1;       // of the update: a cap or trust ratio, made of optimizer_norms
  // 8-bit states as the GPU kernels of bitsandbytes keep them: their search for a code, adam's
  // decay behind the update, a rounding of 16-bit values after each of the two.
  bool bnb_codec = false;
  // 16-bit values: up with the probability that makes the mean exact, by random_u32(rounding, step,
  // element); else to nearest.
  bool stochastic = false;
  RngKey rounding;
};

// One state of a parameter: fp32 values, or codes into `map` (256 entries, ascending) with one
// absmax a block. A map with negative entries never changes the sign of a value by rounding;
// `root`: the codes hold the square root, and a positive value never gets the code of 0.
struct StateView {
  void* values = nullptr;   // float, or uint8_t codes
  float* absmax = nullptr;  // null: fp32
  int64_t block = 256;      // at most 4096
  const float* map = nullptr;
  bool root = false;
};

struct KernelTable {
  const char* name = "";
#define KERNEL(name, params) void(*name) params = nullptr;
#define SIZE_ROW(name, params) int64_t(*name) params = nullptr;
#include "kernels/kernels.def"
#undef KERNEL
#undef SIZE_ROW
};

}  // namespace nibble
