// Running an op: shapes are checked, the forward runs, and a node goes on the tape only when some
// input wants a gradient.
#include "autograd/op.h"

#include "autograd/tape.h"

namespace nibble {

void Saved::keep(Tensor t) {
  bytes_ += t.bytes();
  tensors_.push_back(std::move(t));
}

void Saved::refer(Tensor t) { tensors_.push_back(std::move(t)); }

Tensor copy_as(const Ctx& ctx, const Tensor& x, DType dtype, Purpose purpose) {
  Tensor y = ctx.empty(x.shape(), dtype, purpose);
  ctx.k.cast(ctx.stream, x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), dtype, y.raw(),
             y.pitch());
  return y;
}

Tensor output_over(const Ctx& ctx, const Tensor& x) {
  return exclusive(x) ? x : copy_as(ctx, x, x.dtype());
}

Tensor& Grads::into(const Ctx& ctx, size_t i, const Shape& shape) {
  if (!sums[i].defined()) {
    d[i] = Tensor::zeros(ctx.memory, shape, ctx.acc(), Purpose::gradient);
  } else {
    check_eq(sums[i].shape(), shape, "gradient so far");
    // A handle elsewhere (a trainer's snapshot) keeps the values it saw.
    const bool own = exclusive(sums[i]);
    Tensor sum = std::move(sums[i]);
    sums[i] = Tensor();
    d[i] = own ? std::move(sum) : copy_as(ctx, sum, sum.dtype(), Purpose::gradient);
  }
  return d[i];
}

Var apply(Ctx& ctx, std::shared_ptr<const Op> op, std::vector<Var> inputs) {
  auto node = std::make_shared<Node>();
  std::vector<Tensor> values;
  std::vector<Shape> shapes;
  std::vector<bool> want;
  bool records = false;
  for (Var& input : inputs) {
    values.push_back(input.value());
    shapes.push_back(input.value().shape());
    want.push_back(ctx.tape != nullptr && input.wants_grad());
    records = records || want.back();
    node->inputs.push_back(input.node());
  }
  inputs.clear();  // so that a value only this op uses has one holder
  const Shape shape = op->infer(shapes);
  Tensor y = op->forward(ctx, values, want, records ? &node->saved : nullptr);
  check_eq(y.shape(), shape, cat(op->name(), ": shape of the output"));
  if (!records) return Var(std::move(y));
  node->op = std::move(op);
  ctx.tape->record(node);
  return Var(std::move(y), std::move(node));
}

}  // namespace nibble
