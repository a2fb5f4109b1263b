#include "kernels/tensor.h"

#include <gtest/gtest.h>

#include <numeric>

#include "kernels/memory.h"

namespace nibble {
namespace {

TEST(Tensor, AWindowOnColumnsKeepsThePitchOfTheWhole) {
  std::vector<float> values(12);
  std::iota(values.begin(), values.end(), 0.0f);
  const Tensor whole = Tensor::wrap(values.data(), {3, 4}, DType::f32);
  const Tensor part = whole.columns(1, 3);
  EXPECT_EQ(part.shape(), (Shape{3, 2}));
  EXPECT_EQ(part.pitch(), 4);
  EXPECT_FALSE(part.contiguous());
  EXPECT_EQ(part.data<float>()[part.pitch() * 2], 9.0f);
  const Tensor below = part.row_range(2, 3);
  EXPECT_EQ(below.data<float>()[0], 9.0f);
  EXPECT_TRUE(below.contiguous());  // one row has no gap
}

TEST(Tensor, RowRangeCountsTheFlattenedRows) {
  std::vector<double> values(24);
  const Tensor t = Tensor::wrap(values.data(), {2, 3, 4}, DType::f64);
  EXPECT_EQ(t.rows(), 6);
  EXPECT_EQ(t.row_range(4, 6).raw(), values.data() + 16);
  EXPECT_EQ(t.row_range(4, 6).shape(), (Shape{2, 4}));
}

TEST(Tensor, ReshapeTakesOnlyWholeTensorsOfTheSameSize) {
  std::vector<float> values(12);
  const Tensor t = Tensor::wrap(values.data(), {3, 4}, DType::f32);
  EXPECT_EQ(t.reshape({2, 6}).shape(), (Shape{2, 6}));
  EXPECT_THROW(t.reshape({5, 2}), Bug);
  EXPECT_THROW(t.columns(0, 2).reshape({6}), Bug);
}

TEST(Tensor, WindowsOutsideAndTooManyDimensionsAreBugs) {
  std::vector<float> values(12);
  const Tensor t = Tensor::wrap(values.data(), {3, 4}, DType::f32);
  EXPECT_THROW(t.columns(2, 5), Bug);
  EXPECT_THROW(t.row_range(-1, 2), Bug);
  EXPECT_THROW((Shape{1, 2, 3, 4, 5}), Bug);
  EXPECT_THROW((Shape{int64_t{1} << 40, int64_t{1} << 40}).numel(), Bug);
}

TEST(Tensor, AScalarHasOneElementAndAnEmptyTensorNone) {
  Memory memory;
  EXPECT_EQ(Tensor::zeros(memory, {}, DType::f32, Purpose::scratch).numel(), 1);
  const Tensor none = Tensor::empty(memory, {0, 4}, DType::f32, Purpose::scratch);
  EXPECT_EQ(none.numel(), 0);
  EXPECT_EQ(none.rows(), 0);
  EXPECT_FALSE(Tensor().defined());
}

TEST(Tensor, HoldsItsMemoryUntilTheLastWindowGoes) {
  Memory memory;
  Tensor window;
  {
    const Tensor whole = Tensor::zeros(memory, {8, 8}, DType::bf16, Purpose::weights);
    window = whole.columns(2, 4);
  }
  EXPECT_EQ(memory.live(), 128);
  window = Tensor();
  EXPECT_EQ(memory.live(), 0);
}

TEST(DTypes, SizesAndNamesAgreeWithTheirFields) {
  EXPECT_EQ(size_of(DType::bf16), 2);
  EXPECT_STREQ(name_of(DType::u8), "u8");
  EXPECT_STREQ(torch_name(DType::f16), "float16");
  EXPECT_EQ(size_of(DType::boolean), 1);
  EXPECT_STREQ(torch_name(DType::boolean), "bool");
  EXPECT_TRUE(is_float(DType::f64));
  EXPECT_FALSE(is_float(DType::i32));
}

}  // namespace
}  // namespace nibble
