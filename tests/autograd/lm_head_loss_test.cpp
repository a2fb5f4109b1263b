// The chunked head and loss against the formula in fp64.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "tests/autograd/tensors.h"

namespace nibble {
namespace {

using testing::integers;
using testing::normal;
using testing::normals;
using testing::same_bytes;
using testing::tensor;
using testing::values;

constexpr int64_t kVocab = 37, kWidth = 8;

// Sum of -ln softmax(z')[label], z' from z = h Wᵀ + b by a factor and perhaps a cap; dh, dW and db,
// each straight from its definition.
struct Formula {
  double loss = 0;
  std::vector<double> dh, dw, db;
};

Formula formula(const std::vector<double>& h, const std::vector<double>& w,
                const std::vector<int32_t>& labels,
                const std::vector<double>& b = std::vector<double>(kVocab), LogitShape shape = {}) {
  Formula f{0, std::vector<double>(h.size()), std::vector<double>(w.size()), b};
  std::fill(f.db.begin(), f.db.end(), 0.0);
  for (size_t t = 0; t < labels.size(); ++t) {
    if (labels[t] < 0) continue;
    std::vector<double> z = b, slope(kVocab, shape.scale);
    double sum = 0;
    for (size_t c = 0; c < kVocab; ++c) {
      for (size_t k = 0; k < kWidth; ++k) z[c] += h[t * kWidth + k] * w[c * kWidth + k];
      z[c] *= shape.scale;
      if (shape.cap > 0) {
        slope[c] /= std::pow(std::cosh(z[c] / shape.cap), 2);
        z[c] = shape.cap * std::tanh(z[c] / shape.cap);
      }
      sum += std::exp(z[c]);
    }
    f.loss += std::log(sum) - z[static_cast<size_t>(labels[t])];
    for (size_t c = 0; c < kVocab; ++c) {
      const double p = std::exp(z[c]) / sum;
      const double dz = slope[c] * (p - (static_cast<size_t>(labels[t]) == c ? 1 : 0));
      f.db[c] += dz;
      for (size_t k = 0; k < kWidth; ++k) {
        f.dh[t * kWidth + k] += dz * w[c * kWidth + k];
        f.dw[c * kWidth + k] += dz * h[t * kWidth + k];
      }
    }
  }
  return f;
}

class LmHeadLoss : public ::testing::Test {
 protected:
  Device device_ = Device::cpu(2);
  Tape tape_;
  Ctx ctx_{device_, DType::f32, &tape_};
  const std::vector<int32_t> labels_ = {3, -100, 36, 0, -1, 17, 17};
  const std::vector<double> h_ = normals("h", 7 * kWidth), w_ = normals("w", kVocab*kWidth);
  Tensor hidden_ = tensor(ctx_, {7, kWidth}, h_, DType::f32);
  Parameter head_{"lm_head.weight", tensor(ctx_, {kVocab, kWidth}, w_, DType::f32), {}, true};

  Tensor seed(double x) { return tensor(ctx_, {1}, {x}, DType::f64); }
};

TEST_F(LmHeadLoss, IsTheSumOfTokenLossesAndItsGradients) {
  const Var hidden = Var::input(hidden_);
  const Var loss =
      ops::lm_head_loss(ctx_, hidden, nullptr, Var::leaf(head_), integers(ctx_, labels_));
  tape_.backward(ctx_, loss, seed(1));
  const Formula f = formula(h_, w_, labels_);
  EXPECT_EQ(loss.value().dtype(), DType::f64);
  EXPECT_NEAR(values(ctx_, loss.value())[0], f.loss, 1e-5 * f.loss);
  EXPECT_LE(testing::distance(values(ctx_, hidden.node()->grad), f.dh), 1e-5);
  EXPECT_LE(testing::distance(values(ctx_, head_.grad), f.dw), 1e-5);
}

TEST_F(LmHeadLoss, TakesABiasAFactorAndACapInThatOrder) {
  const std::vector<double> b = normals("b", kVocab);
  for (const LogitShape& shape :
       {LogitShape{}, LogitShape{0.5, 0}, LogitShape{1, 2}, LogitShape{2, 3}}) {
    Parameter bias{"lm_head.bias", tensor(ctx_, {kVocab}, b, DType::f32), {}, false};
    head_.grad = Tensor();
    const Var hidden = Var::input(hidden_);
    const Var loss = ops::lm_head_loss(ctx_, hidden, nullptr, Var::leaf(head_),
                                       integers(ctx_, labels_), Var::leaf(bias), shape);
    tape_.backward(ctx_, loss, seed(1));
    const Formula f = formula(h_, w_, labels_, b, shape);
    EXPECT_NEAR(values(ctx_, loss.value())[0], f.loss, 1e-5 * f.loss);
    EXPECT_LE(testing::distance(values(ctx_, hidden.node()->grad), f.dh), 1e-5);
    EXPECT_LE(testing::distance(values(ctx_, head_.grad), f.dw), 1e-5);
    EXPECT_LE(testing::distance(values(ctx_, bias.grad), f.db), 1e-5);

    const auto weight = std::make_shared<const Weight>(dense_weight(head_.value));
    const Var same = Var::input(hidden_);
    const Var frozen = ops::lm_head_loss(ctx_, same, weight, Var(), integers(ctx_, labels_),
                                         Var(bias.value), shape);
    tape_.backward(ctx_, frozen, seed(1));
    EXPECT_TRUE(same_bytes(frozen.value(), loss.value()));
    EXPECT_TRUE(same_bytes(same.node()->grad, hidden.node()->grad));
  }
}

TEST_F(LmHeadLoss, IsTheSameWithAFrozenHead) {
  const Var a = Var::input(hidden_), b = Var::input(hidden_);
  const Var trained =
      ops::lm_head_loss(ctx_, a, nullptr, Var::leaf(head_), integers(ctx_, labels_));
  tape_.backward(ctx_, trained, seed(1));
  const auto weight = std::make_shared<const Weight>(dense_weight(head_.value));
  const Var frozen = ops::lm_head_loss(ctx_, b, weight, Var(), integers(ctx_, labels_));
  tape_.backward(ctx_, frozen, seed(1));
  EXPECT_TRUE(same_bytes(trained.value(), frozen.value()));
  EXPECT_TRUE(same_bytes(a.node()->grad, b.node()->grad));
}

TEST_F(LmHeadLoss, ScalesItsGradientsByTheSeed) {
  const Var one = Var::input(hidden_), quarter = Var::input(hidden_);
  for (const auto& [hidden, factor] : {std::pair(one, 1.0), std::pair(quarter, 0.25)}) {
    tape_.backward(
        ctx_, ops::lm_head_loss(ctx_, hidden, nullptr, Var(head_.value), integers(ctx_, labels_)),
        seed(factor));
  }
  const std::vector<double> a = values(ctx_, one.node()->grad),
                            b = values(ctx_, quarter.node()->grad);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(b[i], a[i] / 4);
}

// dh of some 1e-9 is nothing in f16; times 65536 it is a number like any other. dz itself, at most
// one here, would be too large times that.
TEST_F(LmHeadLoss, TheLossScaleSavesGradientsThatF16Cannot) {
  Ctx ctx(device_, DType::f16, &tape_);
  const LogitShape shape{0x1p-13, 0};
  const std::vector<double> b = normals("b", kVocab);
  const auto in_f16 = [&](const char* what, int64_t n, double scale) {
    return values(ctx, tensor(ctx, {n}, normals(what, n, scale), DType::f16));
  };
  const auto h = in_f16("h", 7 * kWidth, 1), w = in_f16("w", kVocab * kWidth, 0x1p-12);
  const Formula f = formula(h, w, labels_, b, shape);
  std::vector<double> losses;
  for (const double scale : {1.0, 65536.0}) {
    ctx.loss_scale = scale;
    Parameter head{"lm_head.weight", tensor(ctx, {kVocab, kWidth}, w, DType::f32), {}, true};
    Parameter bias{"lm_head.bias", tensor(ctx, {kVocab}, b, DType::f32), {}, false};
    const Var hidden = Var::input(tensor(ctx, {7, kWidth}, h, DType::f16));
    const Var loss = ops::lm_head_loss(ctx, hidden, nullptr, Var::leaf(head),
                                       integers(ctx, labels_), Var::leaf(bias), shape);
    tape_.backward(ctx, loss, seed(1));
    losses.push_back(values(ctx, loss.value())[0]);
    const auto unscaled = [&](const Tensor& grad) {
      std::vector<double> x = values(ctx, grad);
      for (double& v : x) v /= scale;
      return x;
    };
    const double error = testing::distance(unscaled(hidden.node()->grad), f.dh);
    EXPECT_EQ(error < 1e-3, scale != 1) << error;
    EXPECT_EQ(error > 0.1, scale == 1) << error;
    EXPECT_LE(testing::distance(unscaled(head.grad), f.dw), 1e-3) << scale;
    EXPECT_LE(testing::distance(unscaled(bias.grad), f.db), 1e-3) << scale;
  }
  EXPECT_EQ(losses[0], losses[1]);
}

TEST_F(LmHeadLoss, ALossScaleOfAPowerOfTwoChangesNoDigitInF32) {
  std::vector<std::vector<double>> dh, dw;
  for (const double scale : {1.0, 65536.0}) {
    ctx_.loss_scale = scale;
    head_.grad = Tensor();
    const Var hidden = Var::input(hidden_);
    tape_.backward(
        ctx_, ops::lm_head_loss(ctx_, hidden, nullptr, Var::leaf(head_), integers(ctx_, labels_)),
        seed(1));
    dh.push_back(values(ctx_, hidden.node()->grad));
    dw.push_back(values(ctx_, head_.grad));
  }
  for (double& x : dh[0]) x *= 65536;
  for (double& x : dw[0]) x *= 65536;
  EXPECT_EQ(dh[0], dh[1]);
  EXPECT_EQ(dw[0], dw[1]);
}

TEST_F(LmHeadLoss, DoesNotDependOnRowsThatAreIgnored) {
  const Var dirty = Var::input(copy_as(ctx_, hidden_, DType::f32));
  for (int64_t t = 0; t < 7; ++t) {
    if (labels_[static_cast<size_t>(t)] >= 0) continue;
    for (int64_t k = 0; k < kWidth; ++k) dirty.value().data<float>()[t * kWidth + k] = NAN;
  }
  const Var clean = Var::input(hidden_);
  const Var a = ops::lm_head_loss(ctx_, clean, nullptr, Var(head_.value), integers(ctx_, labels_));
  tape_.backward(ctx_, a, seed(1));
  const Var b = ops::lm_head_loss(ctx_, dirty, nullptr, Var(head_.value), integers(ctx_, labels_));
  tape_.backward(ctx_, b, seed(1));
  EXPECT_TRUE(same_bytes(a.value(), b.value()));
  EXPECT_TRUE(same_bytes(clean.node()->grad, dirty.node()->grad));
  for (int64_t k = 0; k < kWidth; ++k) EXPECT_EQ(clean.node()->grad.data<float>()[kWidth + k], 0);
}

TEST_F(LmHeadLoss, IsZeroWhenEveryTokenIsIgnored) {
  const Var hidden = Var::input(hidden_);
  const Var loss = ops::lm_head_loss(ctx_, hidden, nullptr, Var::leaf(head_),
                                     integers(ctx_, std::vector<int32_t>(7, -100)));
  tape_.backward(ctx_, loss, seed(1));
  EXPECT_EQ(*loss.value().data<double>(), 0);
  EXPECT_THAT(values(ctx_, hidden.node()->grad), ::testing::Each(0));
  EXPECT_THAT(values(ctx_, head_.grad), ::testing::Each(0));
}

TEST_F(LmHeadLoss, GivesTheSameBitsForEverySizeOfChunk) {
  // The sweep's samples of the trained head differ in their chunks only.
  const std::vector<Sample> samples = ops::samples_lm_head_loss();
  std::vector<Tensor> losses, gradients;
  for (const char* what : {"trained", "chunks of 2"}) {
    for (const Sample& s : samples) {
      if (s.what != what) continue;
      const Var hidden = Var::input(normal(ctx_, "hidden", s.inputs[0]));
      const Var loss =
          apply(ctx_, s.make(ctx_), {hidden, Var(normal(ctx_, "weight", s.inputs[1]))});
      losses.push_back(loss.value());
      tape_.backward(ctx_, loss, seed(1));
      gradients.push_back(hidden.node()->grad);
    }
  }
  ASSERT_EQ(losses.size(), 2U);
  EXPECT_TRUE(same_bytes(losses[0], losses[1]));
  EXPECT_TRUE(same_bytes(gradients[0], gradients[1]));
}

TEST_F(LmHeadLoss, HoldsTheLogitsOfOneChunkOnly) {
  EXPECT_EQ(ops::lm_head_chunk_rows(128256), (32 << 20) / 4 / 128256);
  EXPECT_EQ(ops::lm_head_chunk_rows(int64_t{1} << 30), 1);
  const int64_t vocab = 1 << 17, tokens = 150;  // chunks of 64
  const Var hidden(normal(ctx_, "few", {tokens, 2}));
  const Tensor weight = Tensor::zeros(device_.memory(), {vocab, 2}, DType::f32, Purpose::weights);
  const Var loss = ops::lm_head_loss(ctx_, hidden, nullptr, Var(weight),
                                     integers(ctx_, std::vector<int32_t>(tokens, 5)));
  EXPECT_NEAR(*loss.value().data<double>(), 150 * std::log(131072.0), 1e-3);
  EXPECT_LE(device_.memory().peak(Purpose::logits), 32 << 20);
  // A cap's gradient needs the logits twice.
  const Var trains = Var::input(hidden.value());
  const Var capped =
      ops::lm_head_loss(ctx_, trains, nullptr, Var(weight),
                        integers(ctx_, std::vector<int32_t>(tokens, 5)), {}, {1, 30});
  tape_.backward(ctx_, capped, seed(1));
  EXPECT_LE(device_.memory().peak(Purpose::logits), 32 << 20);
}

TEST_F(LmHeadLoss, RefusesALabelBeyondTheVocabulary) {
  EXPECT_THROW(ops::lm_head_loss(ctx_, Var(hidden_), nullptr, Var(head_.value),
                                 integers(ctx_, {0, 0, 0, 0, 0, 0, 37})),
               Bug);
}

}  // namespace
}  // namespace nibble
