// The language-model head and its loss in one op, so that the logits of a batch never exist whole:
// rows with a label are gathered, and a chunk of them at a time goes through logits, loss and,
// while the logits are still at hand, the gradient. With L = sum_r (lse(z_r) - z_r[label]), z = h
// Wᵀ + b, and perhaps a cap or a factor on z:
//   dz = softmax(z) - onehot(label),  dh = dz W,  dW = dzᵀ h,  db = sum of dz
// Where an adapter has rows of its own, W stands for the matrix with these in their places: their
// columns of z and dz are products with the rows, and the base's weight sees zeros there.
// Backward only multiplies what forward kept by dL; what it keeps is ctx.loss_scale times as large.
// Rows are independent, so the chunk's size changes no bit of loss or dh; dW and db add up chunk
// after chunk, rows in order within each.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/columns_by_id.h"
#include "autograd/ops.h"
#include "autograd/product.h"

namespace nibble::ops {
namespace {

// Sums of 256 in order, joined pairwise.
double fixed_sum(const std::vector<double>& x) {
  std::vector<double> partial;
  for (size_t i = 0; i < x.size(); i += 256) {
    double sum = 0;
    for (size_t j = i; j < std::min(i + 256, x.size()); ++j) sum += x[j];
    partial.push_back(sum);
  }
  while (partial.size() > 1) {
    std::vector<double> next;
    for (size_t i = 0; i < partial.size(); i += 2) {
      next.push_back(i + 1 < partial.size() ? partial[i] + partial[i + 1] : partial[i]);
    }
    partial = std::move(next);
  }
  return partial.empty() ? 0 : partial[0];
}

// What forward makes beside the loss; undefined where nobody wants it.
struct Head {
  WeightView w;
  Tensor bias, own;  // undefined: none
  Tensor dh, dw, db, down;
  double held = 1;  // dz is held times this
  double rest = 1;  // what dz misses then to be the gradient times the loss scale

  bool wants_gradient() const {
    return dh.defined() || dw.defined() || db.defined() || down.defined();
  }
};

struct LmHeadLoss : Op {
  std::shared_ptr<const Weight> weight;  // null: inputs[1] is the trained master
  Tensor labels;                         // i32 (tokens)
  LogitShape shape;
  int64_t chunk_rows;            // 0: by the vocabulary
  std::vector<int32_t> own_ids;  // empty: no rows are replaced, and there is no input of them

  LmHeadLoss(std::shared_ptr<const Weight> w, Tensor l, LogitShape s, int64_t rows = 0,
             std::vector<int32_t> own = {})
      : weight(std::move(w)),
        labels(std::move(l)),
        shape(s),
        chunk_rows(rows),
        own_ids(std::move(own)) {}
  const char* name() const override { return "lm_head_loss"; }
  Recompute recompute() const override { return Recompute::never; }

  Shape infer(std::span<const Shape> in) const override {
    const int64_t width = weight ? weight->in : in[1][1];
    const int64_t vocab = weight ? weight->out : in[1][0];
    check_eq(in[0], Shape({labels.numel(), width}), "lm_head_loss: shape of the hidden rows");
    if (has_bias(in.size())) {
      check_eq(in[bias_input()], Shape{vocab}, "lm_head_loss: shape of the bias");
    }
    if (!own_ids.empty()) {
      check_eq(in.back(), Shape({static_cast<int64_t>(own_ids.size()), width}),
               "lm_head_loss: shape of the own rows");
      check(own_ids.back() < vocab, "lm_head_loss: own rows within the vocabulary");
    }
    for (int64_t t = 0; t < labels.numel(); ++t) {
      const int32_t label = labels.data<int32_t>()[t];
      check(label < vocab, cat("lm_head_loss: label ", label, " in a vocabulary of ", vocab));
    }
    return {1};
  }

  // hidden, then the master, the bias and the own rows, each if there is one.
  size_t bias_input() const { return weight ? 1 : 2; }
  bool has_bias(size_t inputs) const { return inputs > bias_input() + (own_ids.empty() ? 0 : 1); }

  // Rows that have a label.
  std::vector<int32_t> labelled() const {
    std::vector<int32_t> rows;
    for (int64_t t = 0; t < labels.numel(); ++t) {
      if (labels.data<int32_t>()[t] >= 0) rows.push_back(static_cast<int32_t>(t));
    }
    return rows;
  }

  Tensor forward(Ctx& ctx, Tensors in, const std::vector<bool>& want, Saved* saved) const override {
    const Tensor& hidden = in[0];
    const Head head = make_head(ctx, in, want, saved != nullptr);

    const std::vector<int32_t> rows = labelled();
    const int64_t n = static_cast<int64_t>(rows.size());
    // A cap's derivative needs the capped logits beside the gradient: half as many rows.
    const int64_t most = lm_head_chunk_rows(head.w.out);
    const int64_t usual = shape.cap > 0 ? std::max<int64_t>(1, most / 2) : most;
    const int64_t chunk = chunk_rows > 0 ? chunk_rows : usual;
    std::vector<double> losses;
    losses.reserve(rows.size());
    for (int64_t begin = 0; begin < n; begin += chunk) {
      const int64_t end = std::min(begin + chunk, n);
      one_chunk(ctx, hidden, {rows.data() + begin, rows.data() + end}, head, losses);
    }
    if (head.db.defined() && head.rest != 1) {
      ctx.k.scale(ctx.stream, head.db.numel(), head.db.dtype(), head.rest, head.db.raw());
    }
    Tensor loss = ctx.empty({1}, DType::f64);
    *loss.data<double>() = fixed_sum(losses);
    if (!saved) return loss;
    const auto keep = [&](const Tensor& d) { d.defined() ? saved->keep(d) : saved->skip(); };
    keep(head.dh);
    if (!weight) keep(head.dw);
    if (has_bias(in.size())) keep(head.db);
    if (!own_ids.empty()) keep(head.down);
    return loss;
  }

  // Gradients begin at zero; those that nobody wants stay undefined.
  Head make_head(Ctx& ctx, Tensors in, const std::vector<bool>& want, bool trains) const {
    Head head;
    head.w = weight ? weight->view() : dense_view(in[1]);
    if (ctx.compute == DType::f16) head.held = f16_scale();
    head.rest = ctx.loss_scale / head.held;
    const auto gradient = [&](size_t i) {
      return trains && want[i]
                 ? Tensor::zeros(ctx.memory, in[i].shape(), ctx.acc(), Purpose::gradient)
                 : Tensor();
    };
    if (trains && want[0])
      head.dh = Tensor::zeros(ctx.memory, in[0].shape(), in[0].dtype(), Purpose::activation);
    if (!weight) head.dw = gradient(1);
    if (has_bias(in.size())) {
      head.bias = in[bias_input()];
      head.db = gradient(bias_input());
    }
    if (!own_ids.empty()) {
      head.own = in.back();
      head.down = gradient(in.size() - 1);
    }
    return head;
  }

  void one_chunk(Ctx& ctx, const Tensor& hidden, std::span<const int32_t> rows, const Head& head,
                 std::vector<double>& losses) const {
    const int64_t m = static_cast<int64_t>(rows.size()), vocab = head.w.out, width = head.w.in;
    const DType type = hidden.dtype(), acc = accumulator_of(type);
    Tensor index = ctx.empty({m}, DType::i32, Purpose::scratch);
    Tensor label = ctx.empty({m}, DType::i32, Purpose::scratch);
    for (int64_t r = 0; r < m; ++r) {
      index.data<int32_t>()[r] = rows[static_cast<size_t>(r)];
      label.data<int32_t>()[r] = labels.data<int32_t>()[rows[static_cast<size_t>(r)]];
    }
    Tensor h = ctx.empty({m, width}, type, Purpose::scratch);
    ctx.k.gather_rows(ctx.stream, m, width, type, hidden.raw(), hidden.pitch(),
                      index.data<int32_t>(), h.raw(), h.pitch());
    Tensor z = logits(ctx, h, head);
    Tensor nll = ctx.empty({m}, acc, Purpose::scratch), lse = ctx.empty({m}, acc, Purpose::scratch);
    ctx.k.cross_entropy_fwd(ctx.stream, m, vocab, acc, z.raw(), z.pitch(), label.data<int32_t>(),
                            nll.raw(), lse.raw());
    const Tensor exact = copy_as(ctx, nll, DType::f64, Purpose::scratch);
    losses.insert(losses.end(), exact.data<double>(), exact.data<double>() + m);
    if (!head.wants_gradient()) return;

    turn_into_gradient(ctx, z, label, lse, head.held);
    if (head.db.defined()) {
      ctx.k.bias_bwd(ctx.stream, m, vocab, acc, z.raw(), z.pitch(), head.db.raw());
    }
    const Tensor dz = type == acc ? z : copy_as(ctx, z, type, Purpose::logits);
    const Tensor dz_own = take_own(ctx, dz);
    if (head.dw.defined()) product_dw(ctx, dz, h, head.dw, head.rest);
    if (head.down.defined()) product_dw(ctx, dz_own, h, head.down, head.rest);
    if (!head.dh.defined()) return;
    product_dx(ctx, dz, head.w, h, head.rest);  // h is not read again
    if (dz_own.defined()) product_dx(ctx, dz_own, dense_view(head.own), h, head.rest, true);
    ctx.k.scatter_rows(ctx.stream, m, width, type, h.raw(), h.pitch(), index.data<int32_t>(),
                       head.dh.raw(), head.dh.pitch());
  }

  // What the softmax sees.
  Tensor logits(Ctx& ctx, const Tensor& h, const Head& head) const {
    Tensor z = ctx.empty({h.rows(), head.w.out}, ctx.acc(), Purpose::logits);
    product(ctx, h, head.w, z);
    if (head.own.defined()) {
      const Tensor own = ctx.empty({h.rows(), head.own.dim(0)}, z.dtype(), Purpose::logits);
      product(ctx, h, dense_view(head.own), own);
      put_columns(ctx, own, own_ids, z);
    }
    if (head.bias.defined()) {
      ctx.k.bias_add(ctx.stream, z.rows(), z.cols(), z.dtype(), head.bias.dtype(), head.bias.raw(),
                     z.raw(), z.pitch());
    }
    if (reshapes()) {
      ctx.k.shape_logits(ctx.stream, shape, z.rows(), z.cols(), z.dtype(), z.raw(), z.pitch());
    }
    return z;
  }
  // The replaced columns of dz, which become zero in it; undefined when there are none.
  Tensor take_own(const Ctx& ctx, const Tensor& dz) const {
    if (own_ids.empty()) return {};
    const Shape narrow{dz.rows(), static_cast<int64_t>(own_ids.size())};
    const Tensor own = ctx.empty(narrow, dz.dtype(), Purpose::logits);
    take_columns(ctx, dz, own_ids, own);
    put_columns(ctx, Tensor::zeros(ctx.memory, narrow, dz.dtype(), Purpose::logits), own_ids, dz);
    return own;
  }
  bool reshapes() const { return shape.scale != 1 || shape.cap > 0; }

  // What dz is held times where it is rounded to f16, whatever the loss scale: |dz| is at most
  // max(1, the factor on z), so the largest stays finite and what is above 2^-28 of it keeps all
  // its digits. A power of two: the products take it out again without a rounding.
  double f16_scale() const {
    return std::exp2(14 - std::ceil(std::log2(std::max(1.0, std::abs(shape.scale)))));
  }

  // z becomes dz, the gradient of the logits as the product made them, times `held`.
  void turn_into_gradient(Ctx& ctx, const Tensor& z, const Tensor& label, const Tensor& lse,
                          double held) const {
    const Tensor shaped = shape.cap > 0 ? copy_as(ctx, z, z.dtype(), Purpose::logits) : z;
    const Tensor upstream = copy_as(ctx, filled(ctx, z.rows(), held), z.dtype(), Purpose::scratch);
    ctx.k.cross_entropy_bwd(ctx.stream, z.rows(), z.cols(), z.dtype(), z.raw(), z.pitch(),
                            label.data<int32_t>(), lse.raw(), upstream.raw());
    if (reshapes()) {
      ctx.k.shape_logits_bwd(ctx.stream, shape, z.rows(), z.cols(), z.dtype(), shaped.raw(),
                             shaped.pitch(), z.raw(), z.pitch());
    }
  }

  static Tensor filled(const Ctx& ctx, int64_t n, double value) {
    Tensor x = ctx.empty({n}, DType::f64, Purpose::scratch);
    std::fill_n(x.data<double>(), n, value);
    return x;
  }

  void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const override {
    const double factor = *dy.data<double>();
    for (size_t i = 0; i < grads.want.size(); ++i) {
      if (!grads.want[i]) continue;
      grads.d[i] = saved[i];
      if (factor == 1) continue;  // sums of token losses: the usual case, and no rounding
      grads.d[i] = copy_as(ctx, saved[i], saved[i].dtype());
      ctx.k.scale(ctx.stream, grads.d[i].numel(), grads.d[i].dtype(), factor, grads.d[i].raw());
    }
  }
};

}  // namespace

int64_t lm_head_chunk_rows(int64_t vocab) {
  return std::max<int64_t>(1, (int64_t{32} << 20) / (4 * std::max<int64_t>(1, vocab)));
}

Var lm_head_loss(Ctx& ctx, const Var& hidden, std::shared_ptr<const Weight> weight,
                 const Var& master, const Tensor& labels, const Var& bias, LogitShape shape,
                 const OwnRows& own) {
  check((weight != nullptr) != master.defined(), "lm_head_loss: one of frozen and trained weight");
  check(labels.dtype() == DType::i32, "lm_head_loss: labels are i32");
  std::vector<Var> inputs = {hidden};
  if (!weight) inputs.push_back(master);
  if (bias.defined()) inputs.push_back(bias);
  check(own.rows.defined() == !own.ids.empty(), "lm_head_loss: own rows and their ids");
  if (own.rows.defined()) inputs.push_back(own.rows);
  return apply(ctx, std::make_shared<LmHeadLoss>(std::move(weight), labels, shape, 0, own.ids),
               std::move(inputs));
}

std::vector<Sample> samples_lm_head_loss() {
  const auto tensor = [](Ctx& ctx, const std::vector<int32_t>& list) {
    Tensor t = ctx.empty({static_cast<int64_t>(list.size())}, DType::i32);
    std::copy(list.begin(), list.end(), t.data<int32_t>());
    return t;
  };
  const auto trained = [tensor](std::vector<int32_t> labels, int64_t chunk, LogitShape shape = {}) {
    return [=](Ctx& ctx) {
      return std::make_shared<LmHeadLoss>(nullptr, tensor(ctx, labels), shape, chunk);
    };
  };
  const auto frozen = [tensor](LogitShape shape, std::vector<int32_t> own = {}) {
    return [=](Ctx& ctx) {
      Tensor w = ctx.empty({11, 6}, DType::f32, Purpose::weights);
      for (int64_t i = 0; i < w.numel(); ++i) {
        w.data<float>()[i] =
            static_cast<float>(random_normal(RngKey{6, rng_site("head sample")}, i));
      }
      return std::make_shared<LmHeadLoss>(std::make_shared<const Weight>(dense_weight(w)),
                                          tensor(ctx, {1, -100, 0, 10, 4}), shape, 0, own);
    };
  };
  const std::vector<int32_t> labels = {2, -100, 8, 0, -1, 3, 3};
  const int64_t dh = 7 * 5 * 4, dw = 9 * 5 * 4, db = 9 * 4;
  return {
      {"trained", trained(labels, 0), {{7, 5}, {9, 5}}, {false, true}, dh + dw},
      {"chunks of 2", trained(labels, 2), {{7, 5}, {9, 5}}, {false, true}, dh + dw},
      {"every token ignored",
       trained({-100, -1}, 0),
       {{2, 5}, {9, 5}},
       {false, true},
       2 * 5 * 4 + dw},
      {"with a bias", trained(labels, 3), {{7, 5}, {9, 5}, {9}}, {false, true, true}, dh + dw + db},
      {"with a bias, a factor and a cap",
       trained(labels, 3, {0.8, 2}),
       {{7, 5}, {9, 5}, {9}},
       {false, true, true},
       dh + dw + db},
      {"with a factor", trained(labels, 0, {0.3, 0}), {{7, 5}, {9, 5}}, {false, true}, dh + dw},
      {"frozen", frozen({}), {{5, 6}}, {false}, 5 * 6 * 4},
      {"frozen, capped", frozen({0.5, 3}), {{5, 6}}, {false}, 5 * 6 * 4},
      {"frozen, with a bias", frozen({}), {{5, 6}, {11}}, {false, true}, 5 * 6 * 4 + 11 * 4},
      {"frozen, three rows replaced",
       frozen({}, {1, 9, 10}),
       {{5, 6}, {3, 6}},
       {false, true},
       5 * 6 * 4 + 3 * 6 * 4},
      {"frozen, one row replaced, with a bias, capped",
       frozen({0.5, 3}, {4}),
       {{5, 6}, {11}, {1, 6}},
       {false, true, true},
       5 * 6 * 4 + 11 * 4 + 6 * 4},
      {"trained, two rows replaced",
       [=](Ctx& ctx) {
         return std::make_shared<LmHeadLoss>(nullptr, tensor(ctx, labels), LogitShape{}, 3,
                                             std::vector<int32_t>{3, 8});
       },
       {{7, 5}, {9, 5}, {2, 5}},
       {false, true, true},
       dh + dw + 2 * 5 * 4}};
}

}  // namespace nibble::ops
