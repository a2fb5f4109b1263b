// Packed attention: o = softmax(scale q kᵀ) v inside each document, without the matrix of scores
// (FlashAttention-2; Dao 2023). Backward remakes p = exp(s - lse) from the saved log-sum-exp:
//   dv = pᵀ do,  ds = p * (do vᵀ - rowsum(do * o)),  dq = scale ds k,  dk = scale dsᵀ q
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct Attention : Op {
  AttentionShape shape;
  Tensor cu;  // i32 (segments + 1)

  Attention(const AttentionShape& s, Tensor begins) : shape(s), cu(std::move(begins)) {}
  const char* name() const override { return "attention"; }
  Recompute recompute() const override { return Recompute::costly; }

  Shape infer(std::span<const Shape> in) const override {
    const int64_t tokens = in[0][0], kv = shape.kv_heads * shape.head_dim;
    check_eq(in[0], Shape({tokens, shape.heads * shape.head_dim}), "attention: shape of q");
    check_eq(in[1], Shape({tokens, kv}), "attention: shape of k");
    check_eq(in[2], Shape({tokens, kv}), "attention: shape of v");
    check_eq(shape.heads % shape.kv_heads, 0, "attention: query heads per key head");
    check_eq(cu.data<int32_t>()[cu.numel() - 1], tokens, "attention: end of the last document");
    return in[0];
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved* saved) const override {
    const Tensor &q = in[0], &k = in[1], &v = in[2];
    Tensor o = ctx.empty(q.shape(), q.dtype());
    Tensor lse;
    if (saved) lse = ctx.empty({q.rows(), shape.heads}, accumulator_of(q.dtype()));
    ctx.k.attention_fwd(ctx.stream, shape, cu.numel() - 1, cu.data<int32_t>(), q.dtype(), q.raw(),
                        q.pitch(), k.raw(), k.pitch(), v.raw(), v.pitch(), o.raw(), o.pitch(),
                        lse.raw());
    if (saved) {
      for (const Tensor& t : {q, k, v, o, lse}) saved->keep(t);
    }
    return o;
  }

  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &o = saved[3], &lse = saved[4];
    const Tensor dq = ctx.empty(q.shape(), q.dtype());
    const Tensor dk = ctx.empty(k.shape(), k.dtype());
    const Tensor dv = ctx.empty(v.shape(), v.dtype());
    const int64_t bytes = ctx.k.attention_bwd_scratch(ctx.stream, shape, q.rows(), q.dtype());
    Tensor scratch;
    if (bytes > 0) scratch = ctx.empty({bytes}, DType::u8, Purpose::scratch);
    ctx.k.attention_bwd(ctx.stream, shape, cu.numel() - 1, cu.data<int32_t>(), q.dtype(), q.raw(),
                        q.pitch(), k.raw(), k.pitch(), v.raw(), v.pitch(), o.raw(), o.pitch(),
                        lse.raw(), dy.raw(), dy.pitch(), dq.raw(), dq.pitch(), dk.raw(), dk.pitch(),
                        dv.raw(), dv.pitch(), scratch.raw());
    const Tensor d[] = {dq, dk, dv};
    for (size_t i = 0; i < 3; ++i) {
      if (grads.want[i]) grads.d[i] = d[i];
    }
  }
};

}  // namespace

Var attention(Ctx& ctx, const Var& q, const Var& k, const Var& v, const AttentionShape& shape,
              const Tensor& cu) {
  return apply(ctx, std::make_shared<Attention>(shape, cu), {q, k, v});
}

std::vector<Sample> samples_attention() {
  const auto sample = [](std::string what, const AttentionShape& shape,
                         std::vector<int32_t> begins) {
    const int64_t tokens = begins.back(), width = shape.heads * shape.head_dim,
                  kv = shape.kv_heads * shape.head_dim;
    const auto make = [=](Ctx& ctx) {
      Tensor cu = ctx.empty({static_cast<int64_t>(begins.size())}, DType::i32);
      std::copy(begins.begin(), begins.end(), cu.data<int32_t>());
      return std::make_shared<Attention>(shape, cu);
    };
    return Sample{std::move(what),
                  make,
                  {{tokens, width}, {tokens, kv}, {tokens, kv}},
                  {false, false, false},
                  (2 * tokens * width + 2 * tokens * kv + tokens * shape.heads) * 4};
  };
  AttentionShape one;
  one.heads = one.kv_heads = 1;
  one.head_dim = 4;
  one.scale = 0.5F;
  AttentionShape grouped = one;
  grouped.heads = 4;
  grouped.kv_heads = 2;
  AttentionShape everywhere = grouped;
  everywhere.causal = false;
  AttentionShape windowed = grouped;
  windowed.window = 3;
  AttentionShape capped = grouped;
  capped.softcap = 2;
  return {sample("one document", one, {0, 7}),
          sample("documents and shared key heads", grouped, {0, 3, 4, 11}),
          sample("without a mask", everywhere, {0, 5, 9}),
          sample("a window of 3", windowed, {0, 8, 12}),
          sample("capped scores", capped, {0, 6}),
          sample("over a tile and a span", one, {0, 2, 578})};
}

}  // namespace nibble::ops
