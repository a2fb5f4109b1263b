// Tokens that an adapter has for itself: its rows of the embedding and of the head take the places
// of the base's, for the batch's rows that use it and no others. What an adapter or the base does
// not know (another adapter's added tokens) it cannot say.
#include <algorithm>
#include <functional>
#include <limits>

#include "autograd/columns_by_id.h"
#include "autograd/product.h"
#include "model/decoder.h"

namespace nibble {
namespace {

Var var_of(const Ctx& ctx, TokenRows& own) {
  return ctx.tape != nullptr && own.trains ? Var::leaf(own.rows) : Var(own.rows.value);
}

bool covers(const AdapterRows& use, int64_t rows) { return use.begin == 0 && use.end == rows; }

// i32 (tokens): which own row each token has in [begin, end), -1: none. Undefined without any.
Tensor slots_of(const Ctx& ctx, const TokenRows& own, const Tensor& ids, const AdapterRows& use) {
  Tensor slots;
  for (int64_t t = use.begin; t < use.end; ++t) {
    const auto at = std::lower_bound(own.ids.begin(), own.ids.end(), ids.data<int32_t>()[t]);
    if (at == own.ids.end() || *at != ids.data<int32_t>()[t]) continue;
    if (!slots.defined()) {
      slots = ctx.empty({ids.numel()}, DType::i32);
      std::fill_n(slots.data<int32_t>(), ids.numel(), -1);
    }
    slots.data<int32_t>()[t] = static_cast<int32_t>(at - own.ids.begin());
  }
  return slots;
}

Tensor no_slots(const Ctx& ctx, int64_t tokens) {
  Tensor slots = ctx.empty({tokens}, DType::i32);
  std::fill_n(slots.data<int32_t>(), tokens, -1);
  return slots;
}

}  // namespace

void Decoder::set_tokens(int slot, AdapterTokens tokens) {
  check(slot >= 0, "adapter slot");
  for (const auto& own : {tokens.embedding, tokens.head}) {
    if (!own) continue;
    const auto n = static_cast<int64_t>(own->ids.size());
    check_eq(own->rows.value.shape(), Shape({n, blueprint_.hidden}), "shape of an adapter's rows");
    check(n > 0 && own->ids.front() >= 0 && own->ids.back() < blueprint_.vocab &&
              std::adjacent_find(own->ids.begin(), own->ids.end(), std::greater_equal<>()) ==
                  own->ids.end(),
          "ids of an adapter's rows ascend within the vocabulary");
  }
  if (tokens_.size() <= static_cast<size_t>(slot)) tokens_.resize(static_cast<size_t>(slot) + 1);
  tokens_[static_cast<size_t>(slot)] = std::move(tokens);
}

const AdapterTokens& Decoder::tokens(int slot) const {
  static const AdapterTokens kNone;
  const auto i = static_cast<size_t>(slot);
  return slot >= 0 && i < tokens_.size() ? tokens_[i] : kNone;
}

Var Decoder::embed_tokens(ForwardContext& context, const Tensor& ids) const {
  Ctx& ctx = context.ctx;
  const int64_t rows = ids.numel();
  if (context.adapters.size() == 1 && covers(context.adapters[0], rows)) {
    const auto& own = tokens(context.adapters[0].adapter).embedding;
    if (own && own->whole()) return ops::embedding(ctx, var_of(ctx, *own), ids);
  }
  Var x = embedding_.trained() ? ops::embedding(ctx, Var::leaf(*embedding_.trained()), ids)
                               : ops::embedding(ctx, *embedding_.weight(), ids);
  for (const AdapterRows& use : context.adapters) {
    const auto& own = tokens(use.adapter).embedding;
    if (!own || use.begin == use.end) continue;
    check(ctx.tape == nullptr || covers(use, rows),
          "adapters by rows serve: a tape takes one for the whole batch");
    Tensor slots = slots_of(ctx, *own, ids, use);
    const bool records = ctx.tape != nullptr && own->trains;
    if (!slots.defined() && records) slots = no_slots(ctx, rows);  // its gradient is zero, not none
    if (slots.defined()) x = ops::replace_rows(ctx, std::move(x), var_of(ctx, *own), slots);
  }
  return x;
}

void Decoder::own_logits(Ctx& ctx, const Tensor& hidden, std::span<const AdapterRows> adapters,
                         const Tensor& logits) const {
  for (const AdapterRows& use : adapters) {
    const auto& own = tokens(use.adapter).head;
    if (!own || use.begin == use.end) continue;
    const Tensor h = hidden.row_range(use.begin, use.end);
    const Tensor all = logits.row_range(use.begin, use.end);
    const WeightView view = dense_view(own->rows.value);
    if (own->whole()) {
      product(ctx, h, view, all);
      continue;
    }
    const Tensor some = ctx.empty({h.rows(), view.out}, all.dtype(), Purpose::logits);
    product(ctx, h, view, some);
    put_columns(ctx, some, own->ids, all);
  }
}

void Decoder::hide_unknown(std::span<const AdapterRows> adapters, const Tensor& logits) const {
  if (blueprint_.grown == 0) return;
  const int64_t vocab = blueprint_.vocab;
  std::vector<int64_t> known(static_cast<size_t>(logits.rows()), vocab - blueprint_.grown);
  for (const AdapterRows& use : adapters)
    if (const int64_t own = tokens(use.adapter).vocab; own > 0)
      std::fill(known.begin() + use.begin, known.begin() + use.end, own);
  check(logits.dtype() == DType::f32, "logits are f32");
  for (int64_t r = 0; r < logits.rows(); ++r)
    std::fill(logits.data<float>() + r * logits.pitch() + known[static_cast<size_t>(r)],
              logits.data<float>() + r * logits.pitch() + vocab,
              -std::numeric_limits<float>::infinity());
}

Var Decoder::loss(ForwardContext& context, const Var& hidden, const Tensor& labels) const {
  Ctx& ctx = context.ctx;
  const Linear& h = head();
  std::shared_ptr<const Weight> weight = h.weight();
  Var master = h.trained() ? Var::leaf(*h.trained()) : Var();
  Var bias;
  if (h.bias()) bias = trains_ ? Var::leaf(*h.bias()) : Var(h.bias()->value);
  ops::OwnRows replaced;
  for (const AdapterRows& use : context.adapters) {
    const auto& own = tokens(use.adapter).head;
    if (!own || use.begin == use.end) continue;
    check(covers(use, hidden.value().rows()), "a loss has one adapter for the whole batch");
    if (own->whole()) {
      weight = nullptr;
      master = var_of(ctx, *own);
    } else {
      replaced = {var_of(ctx, *own), own->ids};
    }
  }
  return ops::lm_head_loss(ctx, hidden, std::move(weight), master, labels, bias, blueprint_.logits,
                           replaced);
}

}  // namespace nibble
