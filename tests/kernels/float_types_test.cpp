// Conversions against the definition: decode by ldexp, encode to the nearest of all values.
#include "kernels/float_types.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace nibble {
namespace {

double decode(uint32_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double fraction = bits & ((1u << mantissa_bits) - 1);
  const double sign = bits >> (exponent_bits + mantissa_bits) & 1 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return fraction != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - mantissa_bits);
  return sign *
         std::ldexp(fraction + std::ldexp(1.0, mantissa_bits), exponent - bias - mantissa_bits);
}

// Rounding of a positive x to p significant bits at least 2^lowest, ties to even, overflow to inf.
double rounded(double x, int p, int lowest, double largest) {
  if (!std::isfinite(x) || x == 0) return x;
  const int exponent = std::max(std::ilogb(x) - p + 1, lowest);
  const double y = std::ldexp(std::nearbyint(std::ldexp(x, -exponent)), exponent);
  return std::abs(y) > largest ? std::copysign(INFINITY, x) : y;
}
double as_bf16(double x) { return rounded(x, 8, -133, 0x1.fep127); }
double as_f16(double x) { return rounded(x, 11, -24, 65504); }

template <class T>
double value(T x) {
  return static_cast<double>(widen(x));
}

TEST(FloatTypes, EveryBitPatternDecodesAsItsFormatSays) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const double wants[] = {decode(bits, 8, 7), decode(bits, 5, 10)};
    const float gots[] = {widen(bf16{static_cast<uint16_t>(bits)}),
                          widen(f16{static_cast<uint16_t>(bits)})};
    for (int k = 0; k < 2; ++k) {
      ASSERT_EQ(std::signbit(gots[k]), (bits & 0x8000u) != 0);
      if (std::isnan(wants[k])) {
        ASSERT_TRUE(std::isnan(gots[k]));
      } else {
        ASSERT_EQ(static_cast<double>(gots[k]), wants[k]) << bits;
      }
    }
  }
}

TEST(FloatTypes, EveryValueAndEveryTieBetweenTwoSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x7f80; ++bits) {
    const bf16 low{static_cast<uint16_t>(bits)};
    ASSERT_EQ(to_bf16(widen(low)).bits, bits);
    const double next = bits == 0x7f7f ? 0x1p128 : value(bf16{static_cast<uint16_t>(bits + 1)});
    const double tie = (value(low) + next) / 2;
    ASSERT_EQ(value(narrow<bf16>(tie)), as_bf16(tie));
    ASSERT_EQ(value(narrow<bf16>(std::nextafter(tie, 1e300))), next == 0x1p128 ? INFINITY : next);
    ASSERT_EQ(value(narrow<bf16>(std::nextafter(tie, 0))), value(low));
  }
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const f16 low{static_cast<uint16_t>(bits)};
    ASSERT_EQ(to_f16(widen(low)).bits, bits);
    const double next = bits == 0x7bff ? 65536 : value(f16{static_cast<uint16_t>(bits + 1)});
    const double tie = (value(low) + next) / 2;
    ASSERT_EQ(value(to_f16(static_cast<float>(tie))), as_f16(tie));
    ASSERT_EQ(value(narrow<f16>(std::nextafter(tie, 1e300))), next == 65536 ? INFINITY : next);
    ASSERT_EQ(value(narrow<f16>(std::nextafter(tie, 0))), value(low));
  }
}

TEST(FloatTypes, RandomFloatsAndDoublesRoundOnceToTheNearest) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 300000; ++i) {
    const float x = float_of(static_cast<uint32_t>(random()));
    if (std::isnan(x)) continue;
    ASSERT_EQ(value(to_bf16(x)), as_bf16(static_cast<double>(x))) << x;
    ASSERT_EQ(value(to_f16(x)), as_f16(static_cast<double>(x))) << x;
    const double y =
        static_cast<double>(x) * (1 + std::ldexp(static_cast<double>(random() >> 12), -84));
    ASSERT_EQ(value(narrow<bf16>(y)), as_bf16(y)) << y;
    ASSERT_EQ(value(narrow<f16>(y)), as_f16(y)) << y;
  }
}

TEST(FloatTypes, NanKeepsItsSignAndInfinityStays) {
  for (const float nan : {float_of(0x7f800001u), float_of(0xff800001u), float_of(0x7fc12345u)}) {
    EXPECT_TRUE(std::isnan(value(to_bf16(nan))));
    EXPECT_TRUE(std::isnan(value(to_f16(nan))));
    EXPECT_TRUE(std::isnan(value(narrow<bf16>(static_cast<double>(nan)))));
    EXPECT_EQ(std::signbit(value(to_f16(nan))), std::signbit(nan));
    EXPECT_EQ(std::signbit(value(to_bf16(nan))), std::signbit(nan));
  }
  EXPECT_EQ(value(narrow<f16>(-std::numeric_limits<double>::infinity())), -INFINITY);
  EXPECT_EQ(value(narrow<bf16>(1e300)), INFINITY);
}

}  // namespace
}  // namespace nibble
