// Masters kept in bf16: where products round to bf16 anyway, an f32 master of the same values gives
// the same numbers, and its gradient is f32.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "tests/autograd/tensors.h"

namespace nibble {
namespace {

using testing::integers;
using testing::normals;
using testing::same_bytes;
using testing::tensor;

constexpr int64_t kVocab = 37, kWidth = 24;

struct Result {
  Tensor loss, table, linear;  // values, gradients
};

// A table that is embedding and head, with a linear between.
Result run(const Device& device, DType compute, DType master) {
  Tape tape;
  Ctx ctx(device, compute, &tape);
  const auto parameter = [&](const char* name, Shape shape) {
    const Tensor rounded = tensor(ctx, shape, normals(name, shape.numel()), DType::bf16);
    return Parameter{name, copy_as(ctx, rounded, master, Purpose::weights), {}, true};
  };
  Parameter table = parameter("table", {kVocab, kWidth});
  Parameter matrix = parameter("matrix", {kWidth, kWidth});
  const Tensor ids = integers(ctx, {3, 0, 36, 3, 9});
  const Var x = ops::embedding(ctx, Var::leaf(table), ids);
  const Var h = ops::linear(ctx, x, Var::leaf(matrix));
  const Var loss =
      ops::lm_head_loss(ctx, h, nullptr, Var::leaf(table), integers(ctx, {0, 36, 3, -100, 1}));
  tape.backward(ctx, loss, tensor(ctx, {1}, {1.0}, DType::f64));
  EXPECT_EQ(table.grad.dtype(), DType::f32);
  EXPECT_EQ(matrix.grad.dtype(), DType::f32);
  return {loss.value(), table.grad, matrix.grad};
}

TEST(Bf16Master, GivesTheNumbersOfAnF32MasterWithTheSameValues) {
  const Device device = Device::cpu(2);
  for (const DType compute : {DType::bf16, DType::f32}) {
    const Result wide = run(device, compute, DType::f32),
                 narrow = run(device, compute, DType::bf16);
    EXPECT_TRUE(same_bytes(wide.loss, narrow.loss)) << name_of(compute);
    EXPECT_TRUE(same_bytes(wide.table, narrow.table)) << name_of(compute);
    EXPECT_TRUE(same_bytes(wide.linear, narrow.linear)) << name_of(compute);
  }
}

}  // namespace
}  // namespace nibble
