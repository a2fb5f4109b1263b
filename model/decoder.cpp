// The forward pass of a decoder-only transformer, written once. Training packs documents and may
// checkpoint every layer; serving reads paged caches; the arithmetic between is the same.
#include "model/decoder.h"

#include <cmath>

#include "autograd/checkpoint.h"
#include "autograd/ops.h"

namespace nibble {
namespace {

WeightView view_of(const Linear& linear) {
  if (linear.weight()) return linear.weight()->view();
  WeightView view;
  const Tensor& master = linear.trained()->value;
  view.out = linear.out();
  view.in = linear.in();
  view.dtype = view.value_dtype = master.dtype();
  view.pitch = master.pitch();
  view.codes = master.raw();
  return view;
}

}  // namespace

Decoder::Decoder(Blueprint blueprint, LinearSource& source)
    : blueprint_(std::move(blueprint)), trains_(source.trains()) {
  const Blueprint& b = blueprint_;
  const Blueprint::Names& n = b.names;
  embedding_ = source.embedding(n.embedding, b.vocab, b.hidden);
  const int64_t q = b.heads * b.head_dim, kv = b.kv_heads * b.head_dim;
  for (int64_t i = 0; i < b.layers; ++i) {
    auto linear = [&](const std::string& part, int64_t out, int64_t in, Split split, bool bias) {
      return source.linear(b.layer_path(i, part), out, in, split, bias);
    };
    Layer layer;
    layer.attention_norm = source.vector(b.layer_path(i, n.attention_norm) + ".weight", b.hidden);
    layer.q = linear(n.q, q, b.hidden, Split::out, b.attention_bias);
    layer.k = linear(n.k, kv, b.hidden, Split::out, b.attention_bias);
    layer.v = linear(n.v, kv, b.hidden, Split::out, b.attention_bias);
    layer.o = linear(n.o, b.hidden, q, Split::in, b.attention_out_bias);
    layer.mlp_norm = source.vector(b.layer_path(i, n.mlp_norm) + ".weight", b.hidden);
    layer.gate = linear(n.gate, b.intermediate, b.hidden, Split::out, b.mlp_bias);
    layer.up = linear(n.up, b.intermediate, b.hidden, Split::out, b.mlp_bias);
    layer.down = linear(n.down, b.hidden, b.intermediate, Split::in, b.mlp_bias);
    layers_.push_back(std::move(layer));
  }
  final_norm_ = source.vector(n.final_norm + ".weight", b.hidden);
  if (!b.tied) head_ = source.linear(n.head, b.vocab, b.hidden, Split::out, false);
}

void Decoder::rotary_tables(ForwardContext& context) const {
  const Tensor& positions = context.packed ? context.packed->positions : context.paged->positions;
  const int64_t rows = positions.numel(), half = blueprint_.rope.rotary / 2;
  Ctx& ctx = context.ctx;
  Tensor cos64 = ctx.empty({rows, half}, DType::f64, Purpose::scratch);
  Tensor sin64 = ctx.empty({rows, half}, DType::f64, Purpose::scratch);
  std::vector<double> frequency(static_cast<size_t>(half));
  for (int64_t i = 0; i < half; ++i)
    frequency[static_cast<size_t>(i)] =
        std::pow(blueprint_.rope.theta,
                 -2.0 * static_cast<double>(i) / static_cast<double>(blueprint_.rope.rotary));
  const int32_t* position = positions.data<int32_t>();
  ctx.stream.pool().parallel_for(rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle = position[r] * frequency[static_cast<size_t>(i)];
        cos64.data<double>()[r * half + i] = std::cos(angle);
        sin64.data<double>()[r * half + i] = std::sin(angle);
      }
    }
  });
  context.cos = ctx.empty({rows, half}, ctx.acc());
  context.sin = ctx.empty({rows, half}, ctx.acc());
  ctx.k.cast(ctx.stream, rows, half, DType::f64, cos64.raw(), half, ctx.acc(), context.cos.raw(),
             half);
  ctx.k.cast(ctx.stream, rows, half, DType::f64, sin64.raw(), half, ctx.acc(), context.sin.raw(),
             half);
}

Var Decoder::norm(Ctx& ctx, const Var& x, const std::shared_ptr<Parameter>& weight) const {
  Var w = trains_ ? Var::leaf(*weight) : Var(weight->value);
  return ops::rmsnorm(ctx, x, w, blueprint_.norm_eps);
}

Var Decoder::attention(ForwardContext& context, size_t index, const Var& x) const {
  const Layer& layer = layers_[index];
  const Blueprint& b = blueprint_;
  Ctx& ctx = context.ctx;
  Var q = ops::rope(ctx, layer.q(x, context), b.heads, b.head_dim, context.cos, context.sin);
  Var k = ops::rope(ctx, layer.k(x, context), b.kv_heads, b.head_dim, context.cos, context.sin);
  Var v = layer.v(x, context);
  AttentionShape shape;
  shape.heads = b.heads;
  shape.kv_heads = b.kv_heads;
  shape.head_dim = b.head_dim;
  shape.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(b.head_dim)));
  if (context.packed) return ops::attention(ctx, q, k, v, shape, context.packed->cu);

  const PagedBatch& batch = *context.paged;
  const PagedKv& cache = batch.layers[index];
  const Tensor &tq = q.value(), &tk = k.value(), &tv = v.value();
  ctx.k.kv_write(ctx.stream, batch.rows, b.kv_heads * b.head_dim, ctx.compute, tk.raw(), tk.pitch(),
                 tv.raw(), tv.pitch(), batch.slots.data<int64_t>(), cache);
  Tensor out = ctx.empty({batch.rows, b.heads * b.head_dim});
  ctx.k.attention_paged(ctx.stream, shape, batch.rows, ctx.compute, tq.raw(), tq.pitch(), cache,
                        batch.sequences.data<int32_t>(), batch.positions.data<int32_t>(), out.raw(),
                        out.pitch());
  return Var(out);
}

Var Decoder::layer_forward(ForwardContext& context, size_t index, const Var& x) const {
  const Layer& layer = layers_[index];
  Ctx& ctx = context.ctx;
  Var attended = layer.o(attention(context, index, norm(ctx, x, layer.attention_norm)), context);
  Var middle = ops::add(ctx, x, attended);
  Var normed = norm(ctx, middle, layer.mlp_norm);
  Var gated =
      ops::gated(ctx, layer.gate(normed, context), layer.up(normed, context), Activation::silu);
  return ops::add(ctx, middle, layer.down(gated, context));
}

Var Decoder::hidden(ForwardContext& context, const Tensor& ids, Checkpointing checkpointing) const {
  check((context.packed != nullptr) != (context.paged != nullptr),
        "decoder: exactly one of packed and paged");
  rotary_tables(context);
  Ctx& ctx = context.ctx;
  Var table =
      embedding_.trained() ? Var::leaf(*embedding_.trained()) : Var(embedding_.weight()->codes);
  Var x = ops::embedding(ctx, table, ids);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (checkpointing == Checkpointing::off || ctx.tape == nullptr) {
      x = layer_forward(context, i, x);
      continue;
    }
    // The segment owns a copy of the context: rows, positions and dropout stay as they are.
    x = checkpoint(
        ctx,
        [this, i, context](Ctx& inner, const Var& input) {
          ForwardContext again{inner,       context.packed,   context.paged,  context.cos,
                               context.sin, context.adapters, context.dropout};
          return layer_forward(again, i, input);
        },
        x);
  }
  return norm(ctx, x, final_norm_);
}

Tensor Decoder::logits(Ctx& ctx, const Tensor& hidden) const {
  const WeightView view = view_of(head());
  const int64_t rows = hidden.rows();
  Tensor out = ctx.empty({rows, blueprint_.vocab}, ctx.acc(), Purpose::logits);
  Tensor scratch = ctx.empty({ctx.k.linear_scratch(ctx.stream, rows, view, ctx.compute)}, DType::u8,
                             Purpose::scratch);
  ctx.k.linear_fwd(ctx.stream, rows, view, ctx.compute, hidden.raw(), hidden.pitch(), ctx.acc(),
                   out.raw(), out.pitch(), 1.0, false, scratch.raw());
  return out;
}

Var Decoder::loss(ForwardContext& context, const Var& hidden, const Tensor& labels) const {
  const Linear& h = head();
  Var master = h.trained() ? Var::leaf(*h.trained()) : Var();
  return ops::lm_head_loss(context.ctx, hidden, h.weight(), master, labels);
}

const Linear& Decoder::head() const { return head_ ? *head_ : embedding_; }

std::vector<Linear*> Decoder::linears() {
  std::vector<Linear*> all;
  for (Layer& l : layers_)
    for (Linear* linear : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down}) all.push_back(linear);
  return all;
}

std::vector<const Linear*> Decoder::linears() const {
  std::vector<const Linear*> all;
  for (Linear* linear : const_cast<Decoder*>(this)->linears()) all.push_back(linear);
  return all;
}

Linear* Decoder::find_linear(const std::string& path) {
  for (Linear* linear : linears())
    if (linear->path() == path) return linear;
  return nullptr;
}

std::vector<Parameter*> Decoder::masters() const {
  std::vector<Parameter*> all;
  if (embedding_.trained()) all.push_back(embedding_.trained().get());
  auto add = [&](const Linear& linear) {
    if (linear.trained()) all.push_back(linear.trained().get());
    if (linear.bias()) all.push_back(linear.bias().get());
  };
  for (const Layer& l : layers_) {
    all.push_back(l.attention_norm.get());
    for (const Linear* linear : {&l.q, &l.k, &l.v, &l.o}) add(*linear);
    all.push_back(l.mlp_norm.get());
    for (const Linear* linear : {&l.gate, &l.up, &l.down}) add(*linear);
  }
  all.push_back(final_norm_.get());
  if (head_) add(*head_);
  return all;
}

std::vector<Parameter*> Decoder::parameters() const {
  if (trains_) return masters();
  std::vector<Parameter*> all;
  for (const Linear* linear : linears()) {
    const auto& pair = linear->adapter(0);
    if (!pair || !pair->trains) continue;
    all.push_back(&pair->a);
    all.push_back(&pair->b);
  }
  return all;
}

}  // namespace nibble
