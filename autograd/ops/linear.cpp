// y = x Wᵀ:  dx = dy W,  dW = dyᵀ x. A frozen weight of any format belongs to the op: it has no
// gradient, and since dx does not read x, nothing is saved. An int8 weight with an outlier
// threshold quantizes x too (LLM.int8()) where the compute type has 16 bits; dx passes straight
// through that rounding and multiplies by the decoded weight. A trained master is an input; the
// kernels round it to the compute type and add dW straight into the accumulator's dtype.
#include "autograd/ops.h"
#include "autograd/product.h"

namespace nibble::ops {
namespace {

struct FrozenLinear : Op {
  std::shared_ptr<const Weight> weight;

  explicit FrozenLinear(std::shared_ptr<const Weight> w) : weight(std::move(w)) {}
  const char* name() const override { return "linear"; }
  Recompute recompute() const override { return Recompute::costly; }

  Shape infer(std::span<const Shape> in) const override {
    check_eq(in[0][-1], weight->in, "linear: input width");
    return {in[0][0], weight->out};
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>&, Saved*) const override {
    Tensor y = ctx.empty({in[0].rows(), weight->out}, in[0].dtype());
    if (quantizes(in[0].dtype())) {
      product_int8(ctx, in[0], weight->view(), *weight->outlier_threshold, y);
    } else {
      product(ctx, in[0], weight->view(), y);
    }
    return y;
  }
  // f32 and f64 ask for the weight's own values.
  bool quantizes(DType x) const { return weight->outlier_threshold && size_of(x) == 2; }

  void backward(Ctx& ctx, const Saved&, const Tensor& dy, Grads& grads) const override {
    if (!grads.want[0]) return;
    grads.d[0] = ctx.empty({dy.rows(), weight->in}, dy.dtype());
    product_dx(ctx, dy, weight->view(), grads.d[0]);
  }
};

struct TrainedLinear : Op {
  const char* name() const override { return "linear"; }
  Recompute recompute() const override { return Recompute::costly; }

  Shape infer(std::span<const Shape> in) const override {
    check_eq(in[1].rank, 2, "linear: dimensions of the weight");
    check_eq(in[0][-1], in[1][1], "linear: input width");
    return {in[0][0], in[1][0]};
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>& want, Saved* saved) const override {
    const Tensor &x = in[0], &w = in[1];
    Tensor y = ctx.empty({x.rows(), w.dim(0)}, x.dtype());
    product(ctx, x, dense_view(w), y);
    if (saved) {
      want[1] ? saved->keep(x) : saved->skip();
      saved->refer(w);
    }
    return y;
  }

  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    const Tensor &x = saved[0], &w = saved[1];
    if (grads.want[0]) {
      grads.d[0] = ctx.empty({dy.rows(), w.dim(1)}, dy.dtype());
      product_dx(ctx, dy, dense_view(w), grads.d[0]);
    }
    if (grads.want[1]) product_dw(ctx, dy, x, grads.into(ctx, 1, w.shape()));
  }
};

}  // namespace

Var linear(Ctx& ctx, const Var& x, std::shared_ptr<const Weight> weight) {
  return apply(ctx, std::make_shared<FrozenLinear>(std::move(weight)), {x});
}

Var linear(Ctx& ctx, const Var& x, const Var& weight) {
  return apply(ctx, std::make_shared<TrainedLinear>(), {x, weight});
}

std::vector<Sample> samples_linear() {
  const auto values = [](Ctx& ctx, int64_t out, int64_t in, DType dtype) {
    Tensor w = ctx.empty({out, in}, DType::f32, Purpose::weights);
    for (int64_t i = 0; i < w.numel(); ++i) {
      w.data<float>()[i] =
          static_cast<float>(random_normal(RngKey{5, rng_site("linear sample")}, i));
    }
    return copy_as(ctx, w, dtype, Purpose::weights);
  };
  const auto dense = [values](int64_t out, int64_t in, DType dtype) {
    return [=](Ctx& ctx) {
      return std::make_shared<FrozenLinear>(
          std::make_shared<const Weight>(dense_weight(values(ctx, out, in, dtype))));
    };
  };
  const auto coded = [values](int64_t out, int64_t in, Layout layout) {
    return [=](Ctx& ctx) {
      const Backend on(ctx.k, ctx.stream, ctx.memory);
      Weight w = quantize(on, values(ctx, out, in, DType::f32), {}, "sample");
      if (layout == Layout::panel) w = to_panel(on, w);
      return std::make_shared<FrozenLinear>(std::make_shared<const Weight>(std::move(w)));
    };
  };
  const auto bytes = [values](int64_t out, int64_t in, std::optional<double> threshold) {
    return [=](Ctx& ctx) {
      const Backend on(ctx.k, ctx.stream, ctx.memory);
      QuantSpec spec;
      spec.format = Format::int8;
      spec.outlier_threshold = threshold;
      return std::make_shared<FrozenLinear>(std::make_shared<const Weight>(
          quantize(on, values(ctx, out, in, DType::f32), spec, "sample")));
    };
  };
  const auto trained = [](Ctx&) { return std::make_shared<TrainedLinear>(); };
  return {
      {"frozen f32", dense(5, 9, DType::f32), {{6, 9}}, {false}, 0},
      {"frozen bf16", dense(33, 70, DType::bf16), {{3, 70}}, {false}, 0},
      {"frozen nf4, blocks across rows", coded(7, 40, Layout::flat), {{3, 40}}, {false}, 0},
      {"frozen nf4 in panels", coded(20, 128, Layout::panel), {{3, 128}}, {false}, 0},
      {"frozen int8", bytes(7, 40, std::nullopt), {{3, 40}}, {false}, 0},
      {"frozen int8, inputs too", bytes(18, 70, 0), {{5, 70}}, {false}, 0, 1e-2},
      {"frozen int8, inputs too but for outliers", bytes(18, 70, 2), {{5, 70}}, {false}, 0, 1e-2},
      {"trained", trained, {{6, 9}, {5, 9}}, {false, true}, 6 * 9 * 4},
      {"trained, one row", trained, {{1, 66}, {18, 66}}, {false, true}, 66 * 4}};
}

}  // namespace nibble::ops
