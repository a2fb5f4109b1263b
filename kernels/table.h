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

enum class WeightKind : uint8_t { dense, table4 };
enum class Layout : uint8_t { flat, panel };

// A weight matrix as rows of the table see it: a value table and scales, never a format's name.
// dense: `codes` are out × in values of `dtype`, rows `pitch` apart.
// table4, flat: two codes a byte, element 2i in the high nibble, blocks of `block` over the flat
//   row-major matrix, one absmax per block.
// table4, panel (in % block == 0, block % 64 == 0): codes [ceil(out/16)][in/64] tiles of 512 bytes;
//   line g (64 bytes) of a tile holds rows 2g (low nibbles) and 2g+1 (high nibbles), byte 4c+t is
//   column 16t+c; scales [ceil(out/16)][in/block][16], rows beyond `out` have scale 0;
//   nested codes lie in the same order.
// The value of an element is table[code] × absmax in fp32, rounded to value_dtype, then to the
// compute type of the product. Nested absmax: map[code] × absmax2[b / block2] + offset, each
// rounded, b = row × (in / block) + k / block counted over the flat matrix (flat: element / block).
struct WeightView {
  WeightKind kind = WeightKind::dense;
  Layout layout = Layout::flat;
  int64_t out = 0, in = 0;
  DType dtype = DType::f32;  // dense: of the values
  DType value_dtype = DType::f32;
  int64_t pitch = 0;  // dense: elements between rows
  const void* codes = nullptr;
  int64_t block = 64;
  const float* absmax = nullptr;          // null when nested
  const uint8_t* absmax_codes = nullptr;  // nested
  const float* absmax2 = nullptr;
  const float* map = nullptr;  // 256 entries
  int64_t block2 = 256;
  float offset = 0;
  float table[16] = {};
};

// What one AdamW step needs beside the states. Decoupled decay: p *= 1 - lr × weight_decay first.
struct AdamWStep {
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t step = 1;       // counts from 1
  double grad_scale = 1;  // every gradient is multiplied by it (1 / tokens, clipping)
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
