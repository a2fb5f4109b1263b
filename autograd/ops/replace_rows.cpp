// y[t] = rows[slot[t]] where slot[t] >= 0, else x[t]: tokens whose embedding an adapter has for
// itself (PEFT's trainable_token_indices).
//   dx[t] = dy[t] where slot[t] < 0, else 0;  drows[slot[t]] += dy[t], tokens in order
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct ReplaceRows : Op {
  int64_t tokens;
  Tensor at, from;  // i32 (n): the tokens that are replaced and their rows

  ReplaceRows(const Ctx& ctx, const Tensor& slots) : tokens(slots.numel()) {
    const int32_t* slot = slots.data<int32_t>();
    std::vector<int32_t> token, row;
    for (int64_t t = 0; t < tokens; ++t) {
      if (slot[t] < 0) continue;
      token.push_back(static_cast<int32_t>(t));
      row.push_back(slot[t]);
    }
    const auto n = static_cast<int64_t>(token.size());
    at = ctx.empty({n}, DType::i32);
    from = ctx.empty({n}, DType::i32);
    std::copy(token.begin(), token.end(), at.data<int32_t>());
    std::copy(row.begin(), row.end(), from.data<int32_t>());
  }
  const char* name() const override { return "replace_rows"; }

  Shape infer(std::span<const Shape> in) const override {
    const Shape &x = in[0], &rows = in[1];
    check_eq(x, Shape({tokens, rows[1]}), "replace_rows: shape of x");
    for (int64_t i = 0; i < from.numel(); ++i)
      check(from.data<int32_t>()[i] < rows[0],
            cat("replace_rows: row ", from.data<int32_t>()[i], " of ", rows[0]));
    return x;
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>& want, Saved* saved) const override {
    const Tensor& rows = in[1];
    check(rows.contiguous(), "replace_rows: contiguous rows");
    const Tensor y = output_over(ctx, in[0]);
    for (int64_t i = 0; i < at.numel(); ++i) {
      const Tensor row = rows.row_range(from.data<int32_t>()[i], from.data<int32_t>()[i] + 1);
      ctx.k.cast(ctx.stream, 1, y.cols(), rows.dtype(), row.raw(), row.pitch(), y.dtype(),
                 row_at(y, i).raw(), y.pitch());
    }
    if (saved) want[1] ? saved->refer(rows) : saved->skip();
    return y;
  }

  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    if (grads.want[1]) {
      const Tensor& drows = grads.into(ctx, 1, saved[0].shape());
      const Tensor own = ctx.empty({at.numel(), dy.cols()}, dy.dtype(), Purpose::scratch);
      ctx.k.gather_rows(ctx.stream, at.numel(), dy.cols(), dy.dtype(), dy.raw(), dy.pitch(),
                        at.data<int32_t>(), own.raw(), own.pitch());
      ctx.k.embedding_bwd(ctx.stream, at.numel(), dy.cols(), from.data<int32_t>(), dy.dtype(),
                          own.raw(), own.pitch(), drows.raw());
    }
    if (grads.want[0]) {
      grads.d[0] = copy_as(ctx, dy, dy.dtype());
      for (int64_t i = 0; i < at.numel(); ++i)
        ctx.k.zero(ctx.stream, dy.cols() * size_of(dy.dtype()), row_at(grads.d[0], i).raw());
    }
  }

  Tensor row_at(const Tensor& x, int64_t i) const {
    return x.row_range(at.data<int32_t>()[i], at.data<int32_t>()[i] + 1);
  }
};

}  // namespace

Var replace_rows(Ctx& ctx, Var x, const Var& rows, const Tensor& slots) {
  check(slots.dtype() == DType::i32, "replace_rows: slots are i32");
  auto op = std::make_shared<ReplaceRows>(ctx, slots);
  std::vector<Var> inputs;
  inputs.push_back(std::move(x));
  inputs.push_back(rows);
  return apply(ctx, std::move(op), std::move(inputs));
}

std::vector<Sample> samples_replace_rows() {
  const auto make = [](std::vector<int32_t> list) {
    return [list](Ctx& ctx) {
      Tensor slots = ctx.empty({static_cast<int64_t>(list.size())}, DType::i32);
      std::copy(list.begin(), list.end(), slots.data<int32_t>());
      return std::make_shared<ReplaceRows>(ctx, slots);
    };
  };
  return {{"one row twice", make({-1, 2, -1, 0, 2}), {{5, 6}, {4, 6}}, {false, true}, 0},
          {"every token", make({1, 0}), {{2, 9}, {2, 9}}, {false, true}, 0},
          {"no token", make({-1, -1, -1}), {{3, 5}, {2, 5}}, {false, true}, 0}};
}

}  // namespace nibble::ops
