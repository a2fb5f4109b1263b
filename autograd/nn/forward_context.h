// All that tells training from serving: where attention finds its keys, which adapter each row
// uses, and whether there is dropout.
#pragma once

#include <span>
#include <vector>

#include "autograd/ctx.h"

namespace nibble {

// Documents packed one behind another. Built once a micro-batch.
struct Segments {
  int64_t tokens = 0, count = 0;
  Tensor cu;           // i32 (count + 1), host-readable
  Tensor positions;    // i32 (tokens), restart at every document
  Tensor samples;      // i64 (tokens), id of the document's sample, for dropout
  Tensor token_types;  // i32 (tokens), for encoders; undefined: all 0
};

// One serving step: row r is the token at positions[r] of sequence sequences[r].
struct PagedBatch {
  int64_t rows = 0;
  std::vector<PagedKv> layers;  // one cache per layer, the same block table
  Tensor sequences;             // i32 (rows)
  Tensor positions;             // i32 (rows)
  Tensor slots;                 // i64 (rows), where the row's own key and value go
  // i32 (rows), the length of text that the row's rotary positions follow; read only where a model
  // stretches them by length.
  Tensor lengths;
};

// Rows [begin, end) use adapter slot `adapter`; rows in no range use the base alone.
struct AdapterRows {
  int adapter = 0;
  int64_t begin = 0, end = 0;
};

struct Dropout {
  uint64_t seed = 0, epoch = 0;
};

struct ForwardContext {
  Ctx& ctx;
  const Segments* packed = nullptr;   // training, evaluation
  const PagedBatch* paged = nullptr;  // serving
  // acc (rows, rotary / 2) for each kind of rotary positions, built by the decoder.
  std::vector<Tensor> cos, sin;
  std::vector<AdapterRows> adapters;
  const Dropout* dropout = nullptr;
};

}  // namespace nibble
