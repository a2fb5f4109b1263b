// 8-bit block codes: nearest entries, exact scales, zero stays zero.
#include "quant/blockwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <random>

#include "quant/double_quant.h"
#include "tests/quant/goldens.h"
#include "tests/support/generator.h"

namespace nibble::testing {
namespace {

const float* map_named(const std::string& name) {
  if (name.find("unsigned") != std::string::npos) return dynamic_unsigned_map();
  if (name.find("linear") != std::string::npos) return linear_signed_map();
  return dynamic_signed_map();
}

void expect_blockwise(Tensors& t, const float* map, int64_t block) {
  const Blockwise mine =
      quantize_blockwise(device(), flat(t.at("in")), map, block, Purpose::scratch);
  EXPECT_EQ(first_difference(mine.absmax, t.at("absmax")), -1);
  for (int64_t i = 0; i < mine.codes.numel(); ++i) {
    // codes_true differs where 1/absmax overflows: there the exact quotient decides.
    const float absmax = mine.absmax.data<float>()[i / block];
    const bool tiny = t.count("codes_true") > 0 && absmax > 0 && absmax < 2.94e-39f;
    const Tensor& golden = t.at(tiny ? "codes_true" : "codes_exact");
    ASSERT_EQ(mine.codes.data<uint8_t>()[i], golden.data<uint8_t>()[i]) << i;
  }
  const Blockwise theirs{flat(t.at("codes_cpu")), t.at("absmax"), block};
  const Tensor decoded =
      dequantize_blockwise(device(), theirs, map, t.at("deq").dtype(), Purpose::scratch);
  EXPECT_EQ(first_difference(decoded, t.at("deq")), -1);
}

TEST(Blockwise, CodesScalesAndValuesEqualTheVectorsOfTheTree) {
  for (const auto& path : vectors_in(golden_path("quant/blockwise8"))) {
    const std::string name = stem(path);  // "bs64_float16_linear", "edges" in blocks of 64
    const int64_t block = name == "edges" ? 64 : std::stoll(name.substr(2));
    for (auto& group : groups_of(read_safetensors(path))) {
      SCOPED_TRACE(name + ":" + group.first);
      expect_blockwise(group.second, map_named(name + group.first), block);
    }
  }
}

TEST(Blockwise, CodesScalesAndValuesEqualAllSharedVectors) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/blockwise8");
  for_each_case(folder, "map", {"nested256", "nonfinite"}, [](GoldenCase& c) {
    ASSERT_EQ(c.tensors.at("in").numel(), c.facts.at("n").get<int64_t>());
    expect_blockwise(c.tensors, map_named(c.facts.at("map").get<std::string>()),
                     c.facts.at("blocksize").get<int64_t>());
  });
}

// The scales' own scales, as double quantization makes them, over 8-bit codes.
TEST(Blockwise, NestedScalesAndTheirValuesEqualTheSharedVector) {
  NIBBLE_REQUIRE_DATA(path, "golden/quantization/blockwise8/nested256.safetensors");
  Tensors t = read_safetensors(path);
  unsigned long long seed = 0, span = 0;
  long long n = 0;
  ASSERT_EQ(std::sscanf(metadata_of(path).at("input").c_str(),
                        "bell_wide(seed=%llu, n=%lld, span=%llu)", &seed, &n, &span),
            3);
  Tensor x = new_tensor({n}, DType::f32);
  for (int64_t i = 0; i < n; ++i)
    x.data<float>()[i] = bell_wide(seed, static_cast<uint64_t>(i), span);
  const float* map = dynamic_signed_map();
  const Blockwise mine = quantize_blockwise(device(), x, map, 256, Purpose::scratch);
  const float offset = t.at("offset").data<float>()[0];
  EXPECT_NEAR(mean_of_scales(mine.absmax), offset, 2 * std::ldexp(std::abs(offset), -23));
  Nested nested = nest_scales(device(), mine.absmax, offset, Purpose::scratch);
  EXPECT_EQ(first_difference(nested.absmax2, t.at("nested_absmax")), -1);
  nested.codes = t.at("absmax_u8");
  const Blockwise theirs{t.at("codes_cpu"), unnest_scales(device(), nested, Purpose::scratch), 256};
  const Tensor decoded = dequantize_blockwise(device(), theirs, map, DType::f32, Purpose::scratch);
  const Tensor& head = t.at("deq_head");
  for (int64_t i = 0; i < head.numel(); ++i) {
    ASSERT_EQ(decoded.data<float>()[i], head.data<float>()[i]) << i;
  }
}

TEST(Blockwise, NonFiniteValuesAreFoundAndStoredOnesDecode) {
  NIBBLE_REQUIRE_DATA(path, "golden/quantization/blockwise8/nonfinite.safetensors");
  for (auto& [name, t] : groups_of(read_safetensors(path))) {
    SCOPED_TRACE(name);
    const Tensor& in = t.at("in");
    int64_t found = -1, place = 0;
    while (std::isfinite(value_at(in, place))) ++place;
    device().kernels().find_nonfinite(device().stream(), in.numel(), in.dtype(), in.raw(), &found);
    EXPECT_EQ(found, place);
    const Blockwise theirs{t.at("codes_cpu"), t.at("absmax"), 64};
    const Tensor decoded =
        dequantize_blockwise(device(), theirs, dynamic_signed_map(), DType::f32, Purpose::scratch);
    EXPECT_EQ(first_difference(decoded, t.at("deq")), -1);
  }
}

TEST(Blockwise, ZeroKeepsTheCodeOfZeroInEveryMap) {
  for (const float* map : {dynamic_signed_map(), dynamic_unsigned_map(), linear_signed_map()}) {
    Tensor x = new_tensor({300}, DType::f32);
    x.data<float>()[260] = 3;
    const Blockwise coded = quantize_blockwise(device(), x, map, 256, Purpose::scratch);
    const Tensor decoded = dequantize_blockwise(device(), coded, map, DType::f32, Purpose::scratch);
    for (int i = 0; i < 300; ++i) EXPECT_EQ(decoded.data<float>()[i], i == 260 ? 3.0f : 0.0f);
  }
}

// What the field's own tests bound: N(0, 1) and U(0, 1) at block 256.
TEST(Blockwise, ErrorsOfNormalAndUniformValuesAreWithinThePublishedBounds) {
  Tensor x = new_tensor({1 << 18}, DType::f32);
  std::mt19937_64 random(11);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = normal(random);
  const float* map = dynamic_signed_map();
  const auto error = [&](const float* by) {
    const Blockwise coded = quantize_blockwise(device(), x, by, 256, Purpose::scratch);
    const Tensor back = dequantize_blockwise(device(), coded, by, DType::f32, Purpose::scratch);
    double sum = 0;
    for (int64_t i = 0; i < x.numel(); ++i) sum += std::abs(value_at(back, i) - value_at(x, i));
    return sum / static_cast<double>(x.numel());
  };
  EXPECT_LT(error(map), .011);
  std::uniform_real_distribution<float> uniform;
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = uniform(random);
  EXPECT_LT(error(map), .0036);
  EXPECT_LT(error(dynamic_unsigned_map()), .0023);
}

}  // namespace
}  // namespace nibble::testing
