// The ops by name. Each makes one node (autograd/ops/<name>.cpp); activations are (tokens,
// features). Arguments taken by value may be moved in: a buffer that nobody else holds becomes the
// output.
#pragma once

#include "autograd/op.h"
#include "quant/weight.h"

namespace nibble::ops {

Var add(Ctx& ctx, Var a, Var b);
Var bias(Ctx& ctx, Var x, const Var& b);  // b: master (features)
// table: master (vocab, width), or frozen in any dense dtype through a constant Var.
Var embedding(Ctx& ctx, const Var& table, const Tensor& ids /* i32 (tokens) */);
// A frozen table of any format: its rows are decoded.
Var embedding(Ctx& ctx, const Weight& table, const Tensor& ids);
// x (tokens, width) with rows[slots[t]] in the place of x[t] where slots[t] >= 0. rows: master
// (n, width); slots: i32 (tokens). x's buffer is reused when it is moved in and nobody else has it.
Var replace_rows(Ctx& ctx, Var x, const Var& rows, const Tensor& slots);
// x: (tokens, groups × width), each group normalised for itself; weight and bias: acc, (width)
// shared by the groups or (groups × width), by their number. rmsnorm multiplies by weight + offset.
Var rmsnorm(Ctx& ctx, const Var& x, const Var& weight, double eps, double offset = 0,
            int64_t groups = 1);
Var layernorm(Ctx& ctx, const Var& x, const Var& weight, const Var& bias /* undefined: none */,
              double eps, int64_t groups = 1);
// cos, sin: acc (tokens, rotary / 2), a factor included. Interleaved: neighbours are pairs.
Var rope(Ctx& ctx, const Var& x, int64_t heads, int64_t head_dim, const Tensor& cos,
         const Tensor& sin, bool interleaved = false);
// cu: i32 (segments + 1), where documents begin.
Var attention(Ctx& ctx, const Var& q, const Var& k, const Var& v, const AttentionShape& shape,
              const Tensor& cu);
Var gated(Ctx& ctx, const Var& gate, const Var& up, Activation act);  // act(gate) × up
Var activation(Ctx& ctx, const Var& x, Activation act);
Var scale(Ctx& ctx, const Var& x, double factor);
// x: (tokens, groups × g): columns [begin, begin + count) of every group, (tokens, groups × count).
// Of one group a window on x, without a copy.
Var columns(Ctx& ctx, const Var& x, int64_t groups, int64_t begin, int64_t count);
// y = x Wᵀ with a frozen weight in any format: no dW, nothing saved. An int8 weight with an outlier
// threshold is multiplied as LLM.int8() does when the compute type is bf16 or f16; with f32, in dx,
// in lm_head_loss and in the logits of serving its decoded value is.
Var linear(Ctx& ctx, const Var& x, std::shared_ptr<const Weight> weight);
// y = x Wᵀ with a trained master (out, in).
Var linear(Ctx& ctx, const Var& x, const Var& weight);
// y = base + scale · (x Aᵀ) Bᵀ; a: master (r, in), b: master (out, r). `x` may be a dropped-out
// copy of the base's input. base's buffer is reused when it is moved in and nobody else holds it.
Var lora(Ctx& ctx, Var base, const Var& x, const Var& a, const Var& b, double scale);
// The same numbers on a window of rows, in place and off the tape: y += scale · (x Aᵀ) Bᵀ.
void lora_in_place(const Ctx& ctx, const Tensor& y, const Tensor& x, const Tensor& a,
                   const Tensor& b, double scale);
// samples: i64 (rows) ids of the documents, positions: i32 (rows).
Var dropout(Ctx& ctx, const Var& x, double p, const RngKey& key, const Tensor& samples,
            const Tensor& positions);
// Sum of the token losses -ln softmax(z')[label], z' the shaped z = hidden Wᵀ + bias, a scalar in
// f64. labels: i32 (tokens), already shifted, negative = ignored (never computed). Logits live in
// chunks of rows only. Exactly one of `weight` (frozen) and `master` (trained, may be shared with
// the embedding) is given. bias: acc (vocab), undefined: none. own: rows of W that are replaced.
struct OwnRows {
  Var rows;                  // master (n, width)
  std::vector<int32_t> ids;  // the rows of W in whose place they stand, strictly ascending
};
Var lm_head_loss(Ctx& ctx, const Var& hidden, std::shared_ptr<const Weight> weight,
                 const Var& master, const Tensor& labels, const Var& bias = {},
                 LogitShape shape = {}, const OwnRows& own = {});
// Rows of a chunk: as many as 32 MiB of f32 logits hold. A function of the vocabulary alone, never
// of free memory.
int64_t lm_head_chunk_rows(int64_t vocab);

// What the sweep tries, by row of autograd/ops.def.
#define OP(name) std::vector<Sample> samples_##name();
#include "autograd/ops.def"
#undef OP

}  // namespace nibble::ops
