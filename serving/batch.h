// What one step computes and what comes back: ids, positions and block tables, no request. The same
// values reach every kind of executor.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

namespace nibble::serving {

// Consecutive tokens of one sequence.
struct Chunk {
  uint64_t request = 0;
  std::vector<int32_t> tokens;
  int64_t start = 0;            // position of the first of them
  int64_t prompt = 0;           // tokens of the sequence's prompt
  int64_t known = 0;            // tokens of the sequence as far as it is known
  std::vector<int32_t> blocks;  // of the sequence, covering at least start + tokens
  int adapter = -1;             // slot; -1: the base
  int64_t wanted = 0;           // so many of its last tokens want logits
};

struct InputBatch {
  std::vector<Chunk> chunks;
  bool empty() const { return chunks.empty(); }
  int64_t tokens() const;  // of all chunks
  int64_t wanted() const;
};

// The wanted rows, chunk after chunk, tokens in order.
struct StepOutput {
  Tensor logits;  // (wanted, vocab) f32; undefined when none is wanted
};

inline int64_t InputBatch::tokens() const {
  int64_t n = 0;
  for (const Chunk& c : chunks) n += static_cast<int64_t>(c.tokens.size());
  return n;
}

inline int64_t InputBatch::wanted() const {
  int64_t n = 0;
  for (const Chunk& c : chunks) n += c.wanted;
  return n;
}

}  // namespace nibble::serving
