// int8 weights of LLM.int8(): codes and scales as bitsandbytes makes them, and what they decode to.
#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "base/text.h"
#include "quant/weight.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

Tensor matrix(const Device& device, int64_t rows, int64_t cols, const std::vector<float>& values) {
  Tensor t = Tensor::empty(device.memory(), {rows, cols}, DType::f32, Purpose::scratch);
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}

QuantSpec int8_spec() {
  QuantSpec spec;
  spec.format = Format::int8;
  return spec;
}

TEST(Int8, ARowsLargestMagnitudeIsItsScaleAndGetsCode127) {
  const Device device = Device::cpu(1);
  const Tensor w = matrix(device, 2, 4, {0.5f, -2, 1, 0, 0, 0, 0, 0});
  const Weight q = quantize(device, w, int8_spec(), "w");
  EXPECT_EQ(q.scales.data<float>()[0], 2.0f);
  EXPECT_EQ(q.scales.data<float>()[1], 0.0f);
  const int8_t want[] = {32, -127, 64, 0, 0, 0, 0, 0};  // 31.75, -127, 63.5 to even
  for (int i = 0; i < 8; ++i) EXPECT_EQ(q.codes.data<int8_t>()[i], want[i]) << i;
  const Tensor back = dequantize(device, q, DType::f32);
  EXPECT_EQ(back.data<float>()[1], -127 * (2.0f / 127));
  EXPECT_EQ(back.data<float>()[4], 0.0f);
}

TEST(Int8, ValuesBeyondF16AreNotRoundedToIt) {
  const Device device = Device::cpu(1);
  const Weight q = quantize(device, matrix(device, 1, 2, {1e6f, -5e5f}), int8_spec(), "w");
  EXPECT_EQ(q.scales.data<float>()[0], 1e6f);
}

}  // namespace
}  // namespace nibble
