// The layer with its bias and adapters: each row gets what it would get alone.
#include "autograd/nn/linear.h"

#include <gtest/gtest.h>

#include "autograd/tape.h"
#include "tests/autograd/tensors.h"

namespace nibble {
namespace {

using testing::distance;
using testing::normal;
using testing::normals;
using testing::same_bytes;
using testing::tensor;
using testing::values;

constexpr int64_t kRows = 9, kIn = 70, kOut = 20, kRank = 3;

class LinearTest : public ::testing::TestWithParam<DType> {
 protected:
  Device device_ = Device::cpu(2);
  Ctx ctx_{device_, GetParam()};

  std::shared_ptr<Parameter> parameter(const char* name, Shape shape) {
    return std::make_shared<Parameter>(Parameter{
        name, tensor(ctx_, shape, normals(name, shape.numel(), 0.5), ctx_.acc()), {}, true});
  }
  std::shared_ptr<LoraPair> pair(const char* a, const char* b, double scale) {
    auto p = std::make_shared<LoraPair>();
    p->a = *parameter(a, {kRank, kIn});
    p->b = *parameter(b, {kOut, kRank});
    p->scale = scale;
    return p;
  }
  Linear layer() {
    const Tensor w = tensor(ctx_, {kOut, kIn}, normals("w", kOut * kIn), DType::f32);
    Linear linear("model.q_proj", std::make_shared<const Weight>(quantize(device_, w, {}, "w")));
    linear.set_bias(parameter("bias", {kOut}), false);
    linear.set_adapter(0, pair("a0", "b0", 2));
    linear.set_adapter(2, pair("a2", "b2", 0.5));
    return linear;
  }
};

TEST_P(LinearTest, GivesARowTheSameBitsInAMixedBatchAndAlone) {
  const Linear linear = layer();
  const Tensor x = normal(ctx_, "x", {kRows, kIn});
  // Rows 0-2 use adapter 0, row 3 none, rows 4-7 adapter 2, row 8 a slot without an adapter here.
  ForwardContext mixed{ctx_};
  mixed.adapters = {{0, 0, 3}, {2, 4, 8}, {1, 8, 9}};
  const Tensor y = linear(Var(x), mixed).value();
  const int slots[kRows] = {0, 0, 0, -1, 2, 2, 2, 2, 1};
  for (int64_t r = 0; r < kRows; ++r) {
    ForwardContext alone{ctx_};
    if (slots[r] >= 0) alone.adapters = {{slots[r], 0, 1}};
    const Tensor one = linear(Var(x.row_range(r, r + 1)), alone).value();
    EXPECT_TRUE(same_bytes(one, y.row_range(r, r + 1))) << "row " << r;
  }
}

TEST_P(LinearTest, IsTheBaseProductPlusBiasPlusTheScaledAdapter) {
  const Linear linear = layer();
  const Tensor x = normal(ctx_, "x", {kRows, kIn});
  ForwardContext context{ctx_};
  context.adapters = {{2, 0, kRows}};
  const std::vector<double> y = values(ctx_, linear(Var(x), context).value());
  const std::vector<double> w = values(ctx_, dequantize(device_, *linear.weight(), DType::f32));
  const std::vector<double> in = values(ctx_, x), bias = values(ctx_, linear.bias()->value);
  const LoraPair& p = *linear.adapter(2);
  const std::vector<double> a = values(ctx_, p.a.value), b = values(ctx_, p.b.value);
  std::vector<double> expected;
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t o = 0; o < kOut; ++o) {
      double sum = bias[o];
      for (size_t i = 0; i < kIn; ++i) {
        double delta = 0;
        for (size_t j = 0; j < kRank; ++j) delta += b[o * kRank + j] * a[j * kIn + i];
        sum += in[r * kIn + i] * (w[o * kIn + i] + 0.5 * delta);
      }
      expected.push_back(sum);
    }
  }
  EXPECT_LE(distance(y, expected), GetParam() == DType::f32 ? 1e-6 : 2e-2);
}

TEST_P(LinearTest, TrainsAnAdapterOnTheWholeBatchAndNothingElse) {
  const Linear linear = layer();
  linear.adapter(0)->trains = true;
  Tape tape;
  Ctx recording(ctx_, &tape);
  ForwardContext context{recording};
  context.adapters = {{0, 0, kRows}};
  const Var y = linear(Var(normal(ctx_, "x", {kRows, kIn})), context);
  tape.backward(recording, y, normal(ctx_, "seed", {kRows, kOut}));
  EXPECT_TRUE(linear.adapter(0)->a.grad.defined());
  EXPECT_TRUE(linear.adapter(0)->b.grad.defined());
  EXPECT_EQ(linear.adapter(0)->a.grad.dtype(), DType::f32);
  EXPECT_FALSE(linear.bias()->grad.defined());
}

TEST_P(LinearTest, RefusesAdaptersByRowsOnATape) {
  const Linear linear = layer();
  Tape tape;
  Ctx recording(ctx_, &tape);
  ForwardContext context{recording};
  context.adapters = {{0, 0, 2}};
  EXPECT_THROW(linear(Var(normal(ctx_, "x", {kRows, kIn})), context), Bug);
}

TEST_P(LinearTest, DropsTheSameInputsOfAnAdapterWhereverADocumentLies) {
  const Linear linear = layer();
  linear.adapter(0)->dropout = 0.5;
  const Tensor x = normal(ctx_, "x", {kRows, kIn});
  const Dropout dropout{11, 1};
  // Document 7 is rows 0-4, document 8 rows 5-8; then document 8 alone.
  const auto segments = [&](std::vector<int64_t> ids, std::vector<int32_t> positions) {
    Segments s;
    s.tokens = static_cast<int64_t>(ids.size());
    s.samples = ctx_.empty({s.tokens}, DType::i64);
    std::copy(ids.begin(), ids.end(), s.samples.data<int64_t>());
    s.positions = testing::integers(ctx_, positions);
    return s;
  };
  const Segments both = segments({7, 7, 7, 7, 7, 8, 8, 8, 8}, {0, 1, 2, 3, 4, 0, 1, 2, 3});
  const Segments second = segments({8, 8, 8, 8}, {0, 1, 2, 3});
  ForwardContext packed{ctx_};
  packed.packed = &both;
  packed.dropout = &dropout;
  packed.adapters = {{0, 0, kRows}};
  ForwardContext alone{ctx_};
  alone.packed = &second;
  alone.dropout = &dropout;
  alone.adapters = {{0, 0, 4}};
  const Tensor y = linear(Var(x), packed).value();
  const Tensor tail = linear(Var(x.row_range(5, 9)), alone).value();
  EXPECT_TRUE(same_bytes(tail, y.row_range(5, 9)));
  packed.dropout = nullptr;
  EXPECT_FALSE(same_bytes(y, linear(Var(x), packed).value()));
}

INSTANTIATE_TEST_SUITE_P(Types, LinearTest, ::testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const ::testing::TestParamInfo<DType>& info) {
                           return std::string(name_of(info.param));
                         });

}  // namespace
}  // namespace nibble
