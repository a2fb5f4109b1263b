// The layer every projection is made of: the base product, the bias, then adapters by rows. The
// thin products add to the base's own buffer, so a row's result is the same whatever rows share its
// batch.
#include "autograd/nn/linear.h"

namespace nibble {
namespace {

Var var_of(const Ctx& ctx, const std::shared_ptr<Parameter>& p, bool trains) {
  return ctx.tape != nullptr && trains ? Var::leaf(*p) : Var(p->value);
}

}  // namespace

Linear::Linear(std::string path, std::shared_ptr<const Weight> frozen, Split split)
    : path_(std::move(path)),
      out_(frozen->out),
      in_(frozen->in),
      split_(split),
      weight_(std::move(frozen)) {}

Linear::Linear(std::string path, std::shared_ptr<Parameter> trained, Split split)
    : path_(std::move(path)),
      out_(trained->value.dim(0)),
      in_(trained->value.dim(1)),
      split_(split),
      trained_(std::move(trained)) {}

void Linear::set_bias(std::shared_ptr<Parameter> bias, bool trains) {
  check_eq(bias->value.shape(), Shape({out_}), cat(path_, ": shape of the bias"));
  bias_ = std::move(bias);
  bias_trains_ = trains;
}

void Linear::set_adapter(int slot, std::shared_ptr<LoraPair> pair) {
  check(slot >= 0, "adapter slot");
  if (pair) {
    check_eq(pair->a.value.dim(1), in_, cat(path_, ": input width of the adapter"));
    check_eq(pair->b.value.dim(0), out_, cat(path_, ": output width of the adapter"));
    check_eq(pair->b.value.dim(1), pair->a.value.dim(0), cat(path_, ": rank of the adapter"));
  }
  if (adapters_.size() <= static_cast<size_t>(slot)) adapters_.resize(slot + 1);
  adapters_[static_cast<size_t>(slot)] = std::move(pair);
}

const std::shared_ptr<LoraPair>& Linear::adapter(int slot) const {
  static const std::shared_ptr<LoraPair> kNone;
  const size_t i = static_cast<size_t>(slot);
  return slot >= 0 && i < adapters_.size() ? adapters_[i] : kNone;
}

Var Linear::operator()(const Var& x, const ForwardContext& context) const {
  Ctx& ctx = context.ctx;
  const int64_t rows = x.value().rows();
  Var y = weight_ ? ops::linear(ctx, x, weight_) : ops::linear(ctx, x, var_of(ctx, trained_, true));
  if (bias_) y = ops::bias(ctx, std::move(y), var_of(ctx, bias_, bias_trains_));
  for (const AdapterRows& use : context.adapters) {
    const std::shared_ptr<LoraPair>& pair = adapter(use.adapter);
    if (!pair || use.begin == use.end) continue;
    check(0 <= use.begin && use.begin <= use.end && use.end <= rows, "rows of an adapter");
    if (use.begin == 0 && use.end == rows) {
      y = adapted(std::move(y), x, *pair, context);
    } else {
      check(ctx.tape == nullptr, "adapters by rows serve: a tape takes one for the whole batch");
      ops::lora_in_place(ctx, y.value().row_range(use.begin, use.end),
                         x.value().row_range(use.begin, use.end), pair->a.value, pair->b.value,
                         pair->scale);
    }
  }
  return y;
}

Var Linear::adapted(Var y, const Var& x, LoraPair& pair, const ForwardContext& context) const {
  Ctx& ctx = context.ctx;
  Var input = x;
  if (context.dropout != nullptr && pair.dropout > 0) {
    check(context.packed != nullptr, "dropout: documents of the rows");
    const RngKey key{context.dropout->seed, pair.site, 0, context.dropout->epoch};
    input =
        ops::dropout(ctx, x, pair.dropout, key, context.packed->samples, context.packed->positions);
  }
  const bool records = ctx.tape != nullptr && pair.trains;
  const Var a = records ? Var::leaf(pair.a) : Var(pair.a.value);
  const Var b = records ? Var::leaf(pair.b) : Var(pair.b.value);
  return ops::lora(ctx, std::move(y), input, a, b, pair.scale);
}

}  // namespace nibble
