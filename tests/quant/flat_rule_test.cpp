// Blocks run over the flat matrix: whatever the row length, block size, dtype and tier, codes,
// scales and values are those of the definition, written out here element by element.
#include <gtest/gtest.h>

#include "tests/kernels/weight_cases.h"
#include "tests/quant/goldens.h"
#include "tests/support/generator.h"

namespace nibble::testing {
namespace {

// The trees of the GPU kernels (quantization.md §2), s = x × (1/absmax).
int nf4_code(float s) {
  constexpr float kSteps[15] = {
      -0.8480964004993439f,  -0.6106329262256622f,  -0.4599952697753906f,   -0.33967943489551544f,
      -0.23460740596055984f, -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f,
      0.1202552504837513f,   0.2035212516784668f,   0.2920137718319893f,    0.3893125355243683f,
      0.5016634166240692f,   0.6427869200706482f,   0.8614784181118011f};
  int code = 0;
  for (const float step : kSteps) code += s > step;
  return code;
}
int fp4_code(float s) {
  const float a = std::fabs(s);
  const int high = a > 0.583333f ? (a > 0.8333333f ? 3 : 2) : (a > 0.4166667f ? 5 : 4);
  const int low = a > 0.0859375f ? (a > 0.20833333f ? 7 : 6) : (a > 0.00260417f ? 1 : 0);
  return (a > 0.29166667f ? high : low) + (s < 0 ? 8 : 0);
}

struct Shape2 {
  int64_t rows, cols;
};

struct Expected {
  std::vector<float> absmax;
  std::vector<int> codes;
};

Expected by_definition(const Tensor& w, Format format, int64_t block) {
  Expected e;
  const int64_t n = w.numel();
  for (int64_t begin = 0; begin < n; begin += block) {
    float largest = 0;
    const int64_t end = std::min(n, begin + block);
    for (int64_t i = begin; i < end; ++i) {
      largest = std::max(largest, std::fabs(static_cast<float>(value_at(w, i))));
    }
    e.absmax.push_back(largest);
    const volatile float inverse = 1 / largest;
    for (int64_t i = begin; i < end; ++i) {
      const volatile float s = static_cast<float>(value_at(w, i)) * inverse;
      e.codes.push_back(largest == 0 ? 0 : format == Format::nf4 ? nf4_code(s) : fp4_code(s));
    }
  }
  return e;
}

// Several binades, some zeros, a zero block when the matrix has more than two blocks of 64.
Tensor matrix(const Shape2& shape, DType dtype, uint64_t seed) {
  Tensor w = new_tensor({shape.rows, shape.cols}, dtype);
  std::vector<uint8_t> bytes;
  for (int64_t i = 0; i < w.numel(); ++i) {
    const bool zero = i % 17 == 3 || (i >= 64 && i < 128);
    append(bytes, dtype, zero ? 0 : round_to(dtype, bell_wide(seed, static_cast<uint64_t>(i), 6)));
  }
  std::memcpy(w.raw(), bytes.data(), bytes.size());
  return w;
}

void expect_by_definition(const Device& on, const Tensor& w, Format format, int64_t block) {
  const Expected want = by_definition(w, format, block);
  const Weight q = quantize(on, w, {format, block, false}, "w");
  const int64_t n = w.numel();
  ASSERT_EQ(q.scales.numel(), static_cast<int64_t>(want.absmax.size()));
  ASSERT_EQ(std::memcmp(q.scales.raw(), want.absmax.data(), want.absmax.size() * 4), 0);
  const uint8_t* packed = q.codes.data<uint8_t>();
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(i % 2 == 0 ? packed[i / 2] >> 4 : packed[i / 2] & 15,
              want.codes[static_cast<size_t>(i)])
        << i;
  }
  for (const DType to : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor decoded = dequantize(on, q, to);
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      const float value =
          rule_of(format).table[want.codes[at]] * want.absmax[static_cast<size_t>(i / block)];
      ASSERT_EQ(value_at(decoded, i), round_to(to, round_to(w.dtype(), value)))
          << name_of(to) << " " << i;
    }
  }
}

TEST(FlatRule, EveryRowLengthAndBlockSizeGivesTheValuesOfTheDefinition) {
  const Shape2 shapes[] = {{1, 1},   {3, 1},   {5, 2},  {7, 3},    {9, 31},   {4, 32},  {6, 33},
                           {3, 63},  {5, 64},  {3, 65}, {7, 80},   {3, 96},   {5, 127}, {4, 128},
                           {3, 130}, {2, 257}, {7, 99}, {3, 1000}, {2, 4097}, {1, 8192}};
  uint64_t seed = 0;
  for (const CpuTier tier : usable_tiers()) {
    const Device on = Device::cpu(2, tier);
    for (const Shape2& shape : shapes) {
      for (int64_t block = 32; block <= 4096; block *= 2) {
        const DType dtypes[] = {DType::f32, DType::bf16, DType::f16};
        const DType dtype = dtypes[++seed % 3];
        const Tensor w = matrix(shape, dtype, seed);
        const Format format = seed % 2 == 0 ? Format::nf4 : Format::fp4;
        const ::testing::ScopedTrace trace(
            __FILE__, __LINE__,
            cat(name_of(tier), " ", name_of(format), " ", name_of(dtype), " ", shape.rows, "x",
                shape.cols, " block ", block));
        expect_by_definition(on, w, format, block);
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace nibble::testing
