// y[t] = table[ids[t]]:  dtable[ids[t]] += dy[t], tokens in order. A frozen table saves nothing.
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

void check_ids(const Tensor& ids, int64_t vocab) {
  check(ids.dtype() == DType::i32, "embedding: ids are i32");
  const int32_t* id = ids.data<int32_t>();
  for (int64_t t = 0; t < ids.numel(); ++t) {
    check(id[t] >= 0 && id[t] < vocab,
          cat("embedding: token id ", id[t], " at ", t, " in a vocabulary of ", vocab));
  }
}

struct Embedding : Op {
  Tensor ids;  // i32 (tokens)

  explicit Embedding(Tensor token_ids) : ids(std::move(token_ids)) {}
  const char* name() const override { return "embedding"; }

  Shape infer(std::span<const Shape> in) const override {
    check_eq(in[0].rank, 2, "embedding: dimensions of the table");
    check_ids(ids, in[0][0]);
    return {ids.numel(), in[0][1]};
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>& want, Saved* saved) const override {
    const Tensor& table = in[0];
    check(table.contiguous(), "embedding: a contiguous table");
    Tensor y = ctx.empty({ids.numel(), table.dim(1)});
    ctx.k.embedding_fwd(ctx.stream, ids.numel(), table.dim(1), table.dtype(), table.raw(),
                        ids.data<int32_t>(), y.dtype(), y.raw(), y.pitch());
    if (saved && want[0]) saved->refer(table);
    return y;
  }

  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    if (!grads.want[0]) return;
    const Tensor& dtable = grads.into(ctx, 0, saved[0].shape());
    ctx.k.embedding_bwd(ctx.stream, ids.numel(), dtable.dim(1), ids.data<int32_t>(), dy.dtype(),
                        dy.raw(), dy.pitch(), dtable.raw());
  }
};

}  // namespace

Var embedding(Ctx& ctx, const Var& table, const Tensor& ids) {
  check(ids.dtype() == DType::i32, "embedding: ids are i32");
  return apply(ctx, std::make_shared<Embedding>(ids), {table});
}

Var embedding(Ctx& ctx, const Weight& table, const Tensor& ids) {
  if (is_dense(table.format) && table.codes.contiguous())
    return embedding(ctx, Var(table.codes), ids);
  check_ids(ids, table.out);
  Tensor y = ctx.empty({ids.numel(), table.in});
  ctx.k.embedding_rows(ctx.stream, ids.numel(), table.view(), ids.data<int32_t>(), y.dtype(),
                       y.raw(), y.pitch());
  return Var(y);
}

std::vector<Sample> samples_embedding() {
  const auto make = [](std::vector<int32_t> list) {
    return [list](Ctx& ctx) {
      Tensor ids = ctx.empty({static_cast<int64_t>(list.size())}, DType::i32);
      std::copy(list.begin(), list.end(), ids.data<int32_t>());
      return std::make_shared<Embedding>(ids);
    };
  };
  return {{"repeated ids", make({3, 0, 3, 10, 3}), {{11, 6}}, {true}, 0},
          {"one token", make({4}), {{5, 17}}, {true}, 0}};
}

}  // namespace nibble::ops
