// Trading time for memory: what the segment would have saved is made again when it is needed.
#include "autograd/checkpoint.h"

namespace nibble {

Var checkpoint(Ctx& ctx, std::function<Var(Ctx&, const Var&)> segment, const Var& input) {
  if (ctx.tape == nullptr) return segment(ctx, input);
  Ctx quiet(ctx, nullptr);
  Tensor value = segment(quiet, Var(input.value())).value();

  auto node = std::make_shared<Node>();
  node->inputs = {input.node()};
  node->saved.keep(input.value());
  // The input becomes a fresh value of the rerun: its gradient arrives there, not further down.
  const bool wants = input.wants_grad();
  const Tensor& x = input.value();  // the closure keeps a handle of its own
  node->segment = [segment = std::move(segment), x, wants](Ctx& outer, const Tensor& dy) {
    Tape tape;
    Ctx recording(outer, &tape);
    const Var in = wants ? Var::input(x) : Var(x);
    const Var out = segment(recording, in);
    if (!out.wants_grad()) return Tensor();
    tape.backward(outer, out, dy);
    return wants ? in.node()->grad : Tensor();
  };
  ctx.tape->record(node);
  return Var(std::move(value), std::move(node));
}

}  // namespace nibble
