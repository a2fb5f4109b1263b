// Whatever the order in memory, a weight has one value: flat blocks may cross rows, panels hold the
// same codes and scales in another order.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "quant/blockwise.h"
#include "tests/quant/goldens.h"

namespace nibble::testing {
namespace {

// Random codes and scales: every nibble occurs, whatever a quantizer would choose.
Weight random_weight(int64_t out, int64_t in, int64_t block, bool nested, uint64_t seed) {
  std::mt19937_64 random(seed);
  Weight w;
  w.format = seed % 2 ? Format::nf4 : Format::fp4;
  w.out = out;
  w.in = in;
  w.block = block;
  w.codes = new_tensor({(out * in + 1) / 2}, DType::u8);
  for (int64_t i = 0; i < w.codes.numel(); ++i) {
    w.codes.data<uint8_t>()[i] = static_cast<uint8_t>(random());
  }
  Tensor scales = new_tensor({w.blocks()}, DType::f32);
  std::uniform_real_distribution<float> uniform(0.01f, 2.0f);
  for (int64_t i = 0; i < scales.numel(); ++i) scales.data<float>()[i] = uniform(random);
  if (nested) {
    w.nested = nest_scales(device(), scales, Purpose::scratch);
  } else {
    w.scales = scales;
  }
  return w;
}

// The definition, in floats: code × absmax, each step rounded.
float expected_value(const Weight& w, int64_t row, int64_t column) {
  const int64_t e = row * w.in + column, b = e / w.block;
  const uint8_t pair = w.codes.data<uint8_t>()[e / 2];
  float scale = 0;
  if (w.nested) {
    const Nested& n = *w.nested;
    const float code = dynamic_signed_map()[n.codes.data<uint8_t>()[b]];
    const volatile float product = code * n.absmax2.data<float>()[b / n.block];
    scale = product + n.offset;
  } else {
    scale = w.scales.data<float>()[b];
  }
  return rule_of(w.format).table[e % 2 == 0 ? pair >> 4 : pair & 15] * scale;
}

int64_t wrong_values(const Weight& w, int64_t n0, int64_t n1, int64_t k0, int64_t k1) {
  std::vector<float> tile(static_cast<size_t>((n1 - n0) * (k1 - k0) + 1), -77.0f);
  device().kernels().decode_tile(w.view(), n0, n1, k0, k1, DType::f32, tile.data(), k1 - k0);
  int64_t wrong = tile.back() != -77.0f;
  for (int64_t r = n0; r < n1; ++r) {
    for (int64_t c = k0; c < k1; ++c) {
      const auto at = static_cast<size_t>((r - n0) * (k1 - k0) + c - k0);
      wrong += tile[at] != expected_value(w, r, c);
    }
  }
  return wrong;
}

TEST(FlatLayout, EveryWidthAndBlockSizeDecodesToItsValue) {
  for (int64_t block = 32; block <= 4096; block *= 2) {
    for (int64_t in = 1; in <= 512; ++in) {
      const Weight w = random_weight(3, in, block, in % 4 == 0, static_cast<uint64_t>(in + block));
      ASSERT_EQ(wrong_values(w, 0, 3, 0, in), 0) << in << " wide, blocks of " << block;
      ASSERT_EQ(wrong_values(w, 1, 3, in / 3, in), 0) << in << " wide, blocks of " << block;
    }
  }
}

TEST(FlatLayout, ValuesAreRoundedToTheStoredDtypeBeforeTheComputeType) {
  Weight w = random_weight(5, 130, 64, true, 9);
  for (DType stored : {DType::bf16, DType::f16}) {
    w.value_dtype = stored;
    const Tensor once = dequantize(device(), w, stored);
    const Tensor wide = dequantize(device(), w, DType::f32);
    EXPECT_EQ(first_difference(once, wide), -1) << name_of(stored);
  }
}

TEST(PanelLayout, GoesThereAndBackWithoutChangingABit) {
  uint64_t seed = 1;
  for (int64_t block : {64, 128, 256, 1024}) {
    for (int64_t out : {1, 2, 7, 15, 16, 17, 33, 64, 95}) {
      for (int64_t blocks : {1, 2, 5}) {
        for (bool nested : {false, true}) {
          const Weight w = random_weight(out, block * blocks, block, nested, ++seed);
          SCOPED_TRACE(cat(out, " × ", w.in, ", blocks of ", block, nested ? ", nested" : ""));
          ASSERT_TRUE(panel_fits(w));
          const Weight panel = to_panel(device(), w);
          const Weight back = to_flat(device(), panel);
          EXPECT_TRUE(same_bytes(w.codes, back.codes));
          ASSERT_EQ(back.nested.has_value(), nested);
          if (nested) {
            EXPECT_TRUE(same_bytes(w.nested->codes, back.nested->codes));
            EXPECT_TRUE(same_bytes(w.nested->absmax2, back.nested->absmax2));
          } else {
            EXPECT_TRUE(same_bytes(w.scales, back.scales));
          }
          const Tensor a = dequantize(device(), w, DType::f32);
          const Tensor b = dequantize(device(), panel, DType::f32);
          EXPECT_EQ(first_difference(a, b), -1);
        }
      }
    }
  }
}

TEST(PanelLayout, PutsCodesWhereTheProductsLookForThem) {
  const Weight w = random_weight(21, 192, 64, false, 5);
  const Weight p = to_panel(device(), w);
  const auto* bytes = p.codes.data<uint8_t>();
  for (int64_t row = 0; row < 32; ++row) {
    for (int64_t k = 0; k < 192; ++k) {
      const int64_t tile = (row / 16) * 3 + k / 64, line = row % 16 / 2;
      const int64_t byte = 4 * (k % 16) + k % 64 / 16;  // column 16t + c lies at 4c + t
      const uint8_t pair = bytes[tile * 512 + line * 64 + byte];
      const int code = row % 2 == 0 ? pair & 15 : pair >> 4;
      if (row < 21) {
        const uint8_t flat_pair = w.codes.data<uint8_t>()[(row * 192 + k) / 2];
        ASSERT_EQ(code, k % 2 == 0 ? flat_pair >> 4 : flat_pair & 15) << row << " " << k;
        ASSERT_EQ(p.scales.data<float>()[((row / 16) * 3 + k / 64) * 16 + row % 16],
                  w.scales.data<float>()[row * 3 + k / 64]);
      } else {
        ASSERT_EQ(rule_of(w.format).table[code], 0.0f) << "rows beyond the last must decode to 0";
        ASSERT_EQ(p.scales.data<float>()[((row / 16) * 3 + k / 64) * 16 + row % 16], 0.0f);
      }
    }
  }
}

TEST(PanelLayout, FitsOnlyWhenBlocksFillRowsAndTiles) {
  EXPECT_TRUE(panel_fits(random_weight(3, 128, 128, false, 1)));
  EXPECT_FALSE(panel_fits(random_weight(3, 128, 32, false, 1)));
  EXPECT_FALSE(panel_fits(random_weight(3, 96, 64, false, 1)));
  EXPECT_FALSE(panel_fits(dense_weight(new_tensor({3, 64}, DType::f32))));
  EXPECT_FALSE(panel_fits(to_panel(device(), random_weight(3, 128, 64, false, 1))));
}

TEST(DenseWeight, IsItsOwnValueAndCountsItsBytes) {
  Tensor values = new_tensor({3, 5}, DType::f32);
  for (int i = 0; i < 15; ++i) values.data<float>()[i] = static_cast<float>(i) / 4;
  const Weight w = dense_weight(values);
  EXPECT_EQ(w.format, Format::f32);
  EXPECT_EQ(w.bytes(), 60);
  EXPECT_EQ(first_difference(dequantize(device(), w, DType::f32), values), -1);
  const Weight half = quantize(device(), values, {Format::bf16}, "w");
  EXPECT_EQ(half.format, Format::bf16);
  EXPECT_EQ(first_difference(dequantize(device(), half, DType::f32), values), -1);
}

TEST(Weight, BytesAreThePublishedBitsPerWeight) {
  const Weight plain = random_weight(256, 1024, 64, false, 3);
  const Weight nested = random_weight(256, 1024, 64, true, 3);
  EXPECT_EQ(plain.bytes() * 8, 256 * 1024 * 9 / 2);
  EXPECT_NEAR(static_cast<double>(nested.bytes()) * 8 / (256 * 1024), 4.1270, 1e-3);
}

}  // namespace
}  // namespace nibble::testing
