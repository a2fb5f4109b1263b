// The forward pass, written once. Training packs documents and may checkpoint every layer; serving
// reads paged caches; the arithmetic between is the same.
#include <cmath>
#include <map>

#include "autograd/checkpoint.h"
#include "autograd/ops.h"
#include "kernels/float_types.h"
#include "model/decoder.h"

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

Var rows_of(Ctx& ctx, const Linear& table, const Tensor& ids) {
  return table.trained() ? ops::embedding(ctx, Var::leaf(*table.trained()), ids)
                         : ops::embedding(ctx, *table.weight(), ids);
}

// What a multiplier is in the compute type, where a model keeps it in that.
double rounded(double factor, DType compute) {
  const auto f = static_cast<float>(factor);
  if (compute == DType::bf16) return static_cast<double>(widen(narrow<bf16>(f)));
  if (compute == DType::f16) return static_cast<double>(widen(narrow<f16>(f)));
  return factor;
}

const Tensor& positions_of(const ForwardContext& context) {
  return context.packed ? context.packed->positions : context.paged->positions;
}

// The length of the text that each row's rotary positions follow.
std::vector<int64_t> lengths_of(const ForwardContext& context) {
  std::vector<int64_t> lengths;
  if (context.packed != nullptr) {
    const int32_t* cu = context.packed->cu.data<int32_t>();
    for (int64_t s = 0; s < context.packed->count; ++s)
      lengths.insert(lengths.end(), static_cast<size_t>(cu[s + 1] - cu[s]), cu[s + 1] - cu[s]);
    return lengths;
  }
  check(context.paged->lengths.defined(), "paged batch: lengths of the texts");
  const int32_t* all = context.paged->lengths.data<int32_t>();
  return {all, all + context.paged->rows};
}

// cos and sin of every row and pair, in fp64.
void fill_angles(Ctx& ctx, const RopeBlueprint& rope, const ForwardContext& context, double* cos,
                 double* sin) {
  const Tensor& positions = positions_of(context);
  const int64_t rows = positions.numel(), half = rope.rotary / 2;
  std::map<int64_t, std::vector<double>> by_length;
  std::vector<const double*> frequency(static_cast<size_t>(rows));
  const bool follows = length_rule(rope) != RopeLength::none;
  std::vector<int64_t> lengths;
  if (follows) lengths = lengths_of(context);
  for (size_t r = 0; r < frequency.size(); ++r) {
    int64_t length = follows ? std::max(lengths[r], rope.original_positions) : 0;
    if (length_rule(rope) == RopeLength::by_text)
      length = std::min(length, rope.original_positions + 1);
    auto& table = by_length[length];
    if (table.empty()) table = rope_frequencies(rope, length);
    frequency[r] = table.data();
  }
  const int32_t* position = positions.data<int32_t>();
  ctx.stream.pool().parallel_for(rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle = position[r] * frequency[static_cast<size_t>(r)][i];
        cos[r * half + i] = std::cos(angle) * rope.attention_factor;
        sin[r * half + i] = std::sin(angle) * rope.attention_factor;
      }
    }
  });
}

}  // namespace

void Decoder::rotary_tables(ForwardContext& context) const {
  Ctx& ctx = context.ctx;
  context.cos.clear();
  context.sin.clear();
  if (blueprint_.positions != Positions::rotary) return;
  for (const RopeBlueprint& rope : blueprint_.ropes) {
    const int64_t rows = positions_of(context).numel(), half = rope.rotary / 2;
    Tensor cos64 = ctx.empty({rows, half}, DType::f64, Purpose::scratch);
    Tensor sin64 = ctx.empty({rows, half}, DType::f64, Purpose::scratch);
    fill_angles(ctx, rope, context, cos64.data<double>(), sin64.data<double>());
    for (const auto& [from, to] : {std::pair(&cos64, &context.cos), {&sin64, &context.sin}}) {
      to->push_back(ctx.empty({rows, half}, ctx.acc()));
      ctx.k.cast(ctx.stream, rows, half, DType::f64, from->raw(), half, ctx.acc(), to->back().raw(),
                 half);
    }
  }
}

Var Decoder::norm(Ctx& ctx, const Var& x, const Norm& norm) const {
  if (!norm.weight) return x;
  const auto var = [&](const std::shared_ptr<Parameter>& p) {
    return !p ? Var() : trains_ ? Var::leaf(*p) : Var(p->value);
  };
  const NormSpec& s = norm.spec;
  if (s.layer_norm)
    return ops::layernorm(ctx, x, var(norm.weight), var(norm.bias), s.eps, s.groups);
  return ops::rmsnorm(ctx, x, var(norm.weight), s.eps, s.offset, s.groups);
}

Var Decoder::join(Ctx& ctx, const Var& x, const Var& branch) const {
  if (blueprint_.residual_scale == 1) return ops::add(ctx, x, branch);
  return ops::add(ctx, x, ops::scale(ctx, branch, blueprint_.residual_scale));
}

Decoder::Heads Decoder::heads(ForwardContext& context, size_t index, const Var& x) const {
  const Layer& layer = layers_[index];
  const Blueprint& b = blueprint_;
  Ctx& ctx = context.ctx;
  const int64_t q = b.heads * b.head_dim, kv = b.kv_heads * b.head_dim;
  Heads h;
  if (b.qkv == QkvLayout::separate) {
    h = {layer[LinearRole::q](x, context), layer[LinearRole::k](x, context),
         layer[LinearRole::v](x, context)};
  } else {
    const Var all = layer[LinearRole::qkv](x, context);
    const bool by_head = b.qkv == QkvLayout::by_head;
    const int64_t groups = by_head ? b.kv_heads : 1, width = kv / groups;
    h = {ops::columns(ctx, all, groups, 0, q / groups),
         ops::columns(ctx, all, groups, q / groups, width),
         ops::columns(ctx, all, groups, q / groups + width, width)};
  }
  h.q = norm(ctx, h.q, layer[NormRole::q]);
  h.k = norm(ctx, h.k, layer[NormRole::k]);
  const int rope = b.layer[index].rope;
  if (b.positions != Positions::rotary || rope < 0) return h;
  const auto r = static_cast<size_t>(rope);
  const bool pairs = b.ropes[r].interleaved;
  h.q = ops::rope(ctx, h.q, b.heads, b.head_dim, context.cos[r], context.sin[r], pairs);
  h.k = ops::rope(ctx, h.k, b.kv_heads, b.head_dim, context.cos[r], context.sin[r], pairs);
  return h;
}

Var Decoder::attend(ForwardContext& context, size_t index, const Heads& h) const {
  const Blueprint& b = blueprint_;
  Ctx& ctx = context.ctx;
  AttentionShape shape;
  shape.heads = b.heads;
  shape.kv_heads = b.kv_heads;
  shape.head_dim = b.head_dim;
  shape.scale =
      static_cast<float>(b.attention_scale != 0 ? b.attention_scale
                                                : 1.0 / std::sqrt(static_cast<double>(b.head_dim)));
  shape.causal = b.causal;
  shape.window = b.layer[index].window;
  shape.softcap = static_cast<float>(b.attention_cap);
  if (context.packed) return ops::attention(ctx, h.q, h.k, h.v, shape, context.packed->cu);

  const PagedBatch& batch = *context.paged;
  const PagedKv& cache = batch.layers[index];
  const Tensor &q = h.q.value(), &k = h.k.value(), &v = h.v.value();
  ctx.k.kv_write(ctx.stream, batch.rows, b.kv_heads * b.head_dim, ctx.compute, k.raw(), k.pitch(),
                 v.raw(), v.pitch(), batch.slots.data<int64_t>(), cache);
  Tensor out = ctx.empty({batch.rows, b.heads * b.head_dim});
  ctx.k.attention_paged(ctx.stream, shape, batch.rows, ctx.compute, q.raw(), q.pitch(), cache,
                        batch.sequences.data<int32_t>(), batch.positions.data<int32_t>(), out.raw(),
                        out.pitch());
  return Var(out);
}

Var Decoder::attention(ForwardContext& context, size_t index, const Var& x) const {
  const Layer& layer = layers_[index];
  const Var out = layer[LinearRole::o](attend(context, index, heads(context, index, x)), context);
  return norm(context.ctx, out, layer[NormRole::attention_out]);
}

Var Decoder::mlp(ForwardContext& context, const Layer& layer, const Var& x) const {
  const Blueprint& b = blueprint_;
  Ctx& ctx = context.ctx;
  Var inner;
  if (b.mlp == MlpKind::gated) {
    inner = ops::gated(ctx, layer[LinearRole::gate](x, context), layer[LinearRole::up](x, context),
                       b.activation);
  } else if (b.mlp == MlpKind::gated_fused) {
    const Var both = layer[LinearRole::gate_up](x, context);
    inner = ops::gated(ctx, ops::columns(ctx, both, 1, 0, b.intermediate),
                       ops::columns(ctx, both, 1, b.intermediate, b.intermediate), b.activation);
  } else {
    inner = ops::activation(ctx, layer[LinearRole::up](x, context), b.activation);
  }
  return norm(ctx, layer[LinearRole::down](inner, context), layer[NormRole::mlp_out]);
}

Var Decoder::layer_forward(ForwardContext& context, size_t index, const Var& x) const {
  const Layer& layer = layers_[index];
  Ctx& ctx = context.ctx;
  const Var normed = norm(ctx, x, layer[NormRole::attention_in]);
  const Var attended = attention(context, index, normed);
  if (blueprint_.parallel) {
    const bool own = layer[NormRole::mlp_in].weight != nullptr;
    const Var out = mlp(context, layer, own ? norm(ctx, x, layer[NormRole::mlp_in]) : normed);
    return join(ctx, join(ctx, x, attended), out);
  }
  const Var middle = norm(ctx, join(ctx, x, attended), layer[NormRole::attention_after]);
  const Var out = mlp(context, layer, norm(ctx, middle, layer[NormRole::mlp_in]));
  return norm(ctx, join(ctx, middle, out), layer[NormRole::mlp_after]);
}

Var Decoder::embed(ForwardContext& context, const Tensor& ids) const {
  const Blueprint& b = blueprint_;
  Ctx& ctx = context.ctx;
  Var x = embed_tokens(context, ids);
  if (b.embedding_scale != 1) {
    const double factor =
        b.embedding_scale_rounds ? rounded(b.embedding_scale, ctx.compute) : b.embedding_scale;
    x = ops::scale(ctx, x, factor);
  }
  if (b.token_types > 0) {
    Tensor types = context.packed ? context.packed->token_types : Tensor();
    if (!types.defined())
      types = Tensor::zeros(ctx.memory, {ids.numel()}, DType::i32, Purpose::activation);
    x = ops::add(ctx, x, rows_of(ctx, token_types_, types));
  }
  if (b.positions == Positions::learned) {
    const Tensor& positions = positions_of(context);
    for (int64_t t = 0; t < positions.numel(); ++t)
      check(positions.data<int32_t>()[t] < b.max_positions, "decoder: a position of the table");
    x = ops::add(ctx, x, rows_of(ctx, positions_, positions));
  }
  return norm(ctx, x, embedding_norm_);
}

Var Decoder::hidden(ForwardContext& context, const Tensor& ids, Checkpointing checkpointing,
                    const Tap& tap) const {
  check((context.packed != nullptr) != (context.paged != nullptr),
        "decoder: exactly one of packed and paged");
  rotary_tables(context);
  Ctx& ctx = context.ctx;
  Var x = embed(context, ids);
  if (tap) tap("embed", x.value());
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (checkpointing == Checkpointing::off || ctx.tape == nullptr) {
      x = layer_forward(context, i, x);
    } else {
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
    if (tap) tap(cat("block", i), x.value());
  }
  x = norm(ctx, x, final_norm_);
  if (tap) tap("head_input", x.value());
  return x;
}

Tensor Decoder::logits(Ctx& ctx, const Tensor& hidden,
                       std::span<const AdapterRows> adapters) const {
  check(!blueprint_.encoder, "an encoder has no logits");
  const WeightView view = view_of(head());
  const int64_t rows = hidden.rows(), vocab = blueprint_.vocab;
  Tensor out = ctx.empty({rows, vocab}, ctx.acc(), Purpose::logits);
  Tensor scratch = ctx.empty({ctx.k.linear_scratch(ctx.stream, rows, view, ctx.compute)}, DType::u8,
                             Purpose::scratch);
  ctx.k.linear_fwd(ctx.stream, rows, view, ctx.compute, hidden.raw(), hidden.pitch(), ctx.acc(),
                   out.raw(), out.pitch(), 1.0, false, scratch.raw());
  own_logits(ctx, hidden, adapters, out);
  if (const auto& bias = head().bias())
    ctx.k.bias_add(ctx.stream, rows, vocab, ctx.acc(), bias->value.dtype(), bias->value.raw(),
                   out.raw(), out.pitch());
  const LogitShape& shape = blueprint_.logits;
  if (shape.scale != 1 || shape.cap != 0)
    ctx.k.shape_logits(ctx.stream, shape, rows, vocab, ctx.acc(), out.raw(), out.pitch());
  hide_unknown(adapters, out);
  return out;
}

Tensor Decoder::pooled(Ctx& ctx, const Tensor& rows) const {
  if (pooler_.path().empty()) return {};
  ForwardContext context{ctx};
  Tensor y = copy_as(ctx, pooler_(Var(rows), context).value(), DType::f64);
  for (int64_t i = 0; i < y.numel(); ++i) y.data<double>()[i] = std::tanh(y.data<double>()[i]);
  return copy_as(ctx, y, ctx.acc());
}

}  // namespace nibble
