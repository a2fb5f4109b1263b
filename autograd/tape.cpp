// Reverse-mode differentiation over a list: because nodes are listed as they were made, walking the
// list backwards meets every use of a value before the value itself.
#include "autograd/tape.h"

namespace nibble {
namespace {

bool takes_gradient(const std::shared_ptr<Node>& input) { return input != nullptr; }

// Hands d[i] on to where input i came from.
void deliver(const Ctx& ctx, Node& input, Grads& grads, size_t i) {
  Tensor g = std::move(grads.d[i]);
  grads.d[i] = Tensor();
  check(g.defined(), "backward: a wanted gradient was not filled");
  if (input.parameter == nullptr) {
    const DType dtype = g.dtype();
    add_gradient(ctx, input.grad, std::move(g), Purpose::activation, dtype);
    return;
  }
  Parameter& p = *input.parameter;
  check_eq(g.shape(), p.value.shape(), cat("gradient of ", p.name));
  if (grads.sums[i].defined()) {  // the op made a gradient of its own: give the loan back first
    check(!p.grad.defined(), "backward: two gradients for one parameter");
    p.grad = std::move(grads.sums[i]);
  }
  add_gradient(ctx, p.grad, std::move(g), Purpose::gradient, accumulator_of(p.value.dtype()));
}

void run_op(Ctx& ctx, Node& node, const Tensor& dy) {
  std::vector<bool> want;
  for (const auto& input : node.inputs) want.push_back(takes_gradient(input));
  Grads grads(std::move(want));
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (!grads.want[i] || node.inputs[i]->parameter == nullptr) continue;
    grads.sums[i] = std::move(node.inputs[i]->parameter->grad);
    node.inputs[i]->parameter->grad = Tensor();
  }
  node.op->backward(ctx, node.saved, dy, grads);
  node.saved = Saved();
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (grads.want[i]) deliver(ctx, *node.inputs[i], grads, i);
  }
}

void run_segment(Ctx& ctx, Node& node, const Tensor& dy) {
  Tensor dx = node.segment(ctx, dy);
  node.segment = nullptr;
  node.saved = Saved();
  if (node.inputs[0] == nullptr || !dx.defined()) return;
  Grads grads({true});
  grads.d[0] = std::move(dx);
  deliver(ctx, *node.inputs[0], grads, 0);
}

}  // namespace

void add_gradient(const Ctx& ctx, Tensor& sum, Tensor g, Purpose purpose, DType dtype) {
  if (!sum.defined()) {
    // A parameter's gradient outlives the walk, so it never shares a buffer with another value.
    const bool take =
        g.dtype() == dtype && g.contiguous() && (purpose != Purpose::gradient || exclusive(g));
    sum = take ? std::move(g) : copy_as(ctx, g, dtype, purpose);
    return;
  }
  check_eq(sum.shape(), g.shape(), "sum of gradients");
  if (!exclusive(sum)) sum = copy_as(ctx, sum, sum.dtype(), purpose);
  if (!g.contiguous()) g = copy_as(ctx, g, g.dtype());
  ctx.k.accumulate(ctx.stream, g.numel(), g.dtype(), g.raw(), sum.dtype(), sum.raw());
}

void Tape::backward(const Ctx& ctx, const Var& output, const Tensor& seed) {
  check(output.wants_grad(), "backward: nothing that the output depends on wants a gradient");
  check_eq(seed.shape(), output.value().shape(), "backward: shape of the seed");
  Ctx quiet(ctx, nullptr);
  output.node()->grad = seed;
  while (!nodes_.empty()) {
    const std::shared_ptr<Node> node = std::move(nodes_.back());
    nodes_.pop_back();
    if (node->grad.defined()) {
      const Tensor dy = std::move(node->grad);
      node->grad = Tensor();
      if (node->segment) {
        run_segment(quiet, *node, dy);
      } else {
        run_op(quiet, *node, dy);
      }
    }
    node->inputs.clear();
    node->saved = Saved();
  }
}

// From the back: dropping a node first that others follow would free the chain recursively.
void Tape::clear() {
  while (!nodes_.empty()) nodes_.pop_back();
}

int64_t Tape::saved_bytes() const {
  int64_t sum = 0;
  for (const auto& node : nodes_) sum += node->saved.bytes();
  return sum;
}

}  // namespace nibble
