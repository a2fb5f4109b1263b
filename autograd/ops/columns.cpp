// Columns [begin, begin + count) of every group of x, side by side: one of q, k and v of a product
// that made all three, whether they lie whole behind one another (one group) or head by head. One
// group is a window on x, without a copy. dx is dy where it was taken from and zero elsewhere.
#include "autograd/ops.h"

namespace nibble::ops {
namespace {

struct Columns : Op {
  int64_t groups, width;  // of x: groups × width columns
  int64_t begin, count;   // of each group

  Columns(int64_t n, int64_t w, int64_t b, int64_t c) : groups(n), width(w), begin(b), count(c) {}
  const char* name() const override { return "columns"; }

  Shape infer(std::span<const Shape> in) const override {
    check(begin >= 0 && count > 0 && begin + count <= width,
          cat("columns: ", begin, " to ", begin + count, " of groups of ", width));
    check_eq(in[0], Shape({in[0][0], groups * width}), "columns: shape");
    return {in[0][0], groups * count};
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved*) const override {
    const Tensor& x = in[0];
    if (groups == 1) return x.columns(begin, begin + count);
    Tensor y = ctx.empty({x.rows(), groups * count}, x.dtype());
    copy(ctx, x, y, true);
    return y;
  }

  void backward(Ctx& ctx, const Saved&, const Tensor& dy, Grads& grads) const override {
    if (!grads.want[0]) return;
    grads.d[0] =
        Tensor::zeros(ctx.memory, {dy.rows(), groups * width}, dy.dtype(), Purpose::activation);
    copy(ctx, grads.d[0], dy, false);
  }

  // Between the taken columns of x and y: to y, or from it.
  void copy(const Ctx& ctx, const Tensor& x, const Tensor& y, bool to_y) const {
    // Groups of contiguous tensors are rows of their own: one call for all of them.
    const bool dense = x.contiguous() && y.contiguous();
    const int64_t calls = dense ? 1 : groups, rows = x.rows() * (dense ? groups : 1);
    const int64_t ldx = dense ? width : x.pitch(), ldy = dense ? count : y.pitch();
    for (int64_t g = 0; g < calls; ++g) {
      char* of_x = x.data<char>() + (g * width + begin) * size_of(x.dtype());
      char* of_y = y.data<char>() + g * count * size_of(y.dtype());
      ctx.k.cast(ctx.stream, rows, count, x.dtype(), to_y ? of_x : of_y, to_y ? ldx : ldy,
                 x.dtype(), to_y ? of_y : of_x, to_y ? ldy : ldx);
    }
  }
};

}  // namespace

Var columns(Ctx& ctx, const Var& x, int64_t groups, int64_t begin, int64_t count) {
  check(groups > 0, "columns: groups");
  return apply(ctx, std::make_shared<Columns>(groups, x.value().cols() / groups, begin, count),
               {x});
}

std::vector<Sample> samples_columns() {
  const auto make = [](int64_t groups, int64_t width, int64_t begin, int64_t count) {
    return [=](Ctx&) { return std::make_shared<Columns>(groups, width, begin, count); };
  };
  return {{"a window", make(1, 12, 5, 4), {{3, 12}}, {false}, 0},
          {"all of one group", make(1, 7, 0, 7), {{2, 7}}, {false}, 0},
          {"the middle of each of four groups", make(4, 9, 3, 5), {{5, 36}}, {false}, 0},
          {"the last column of each", make(3, 5, 4, 1), {{1, 15}}, {false}, 0}};
}

}  // namespace nibble::ops
