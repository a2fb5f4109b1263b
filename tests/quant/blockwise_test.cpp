// 8-bit block codes: nearest entries, exact scales, zero stays zero.
#include "quant/blockwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/quant/goldens.h"

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
  // codes_true differs where 1/absmax overflows: there the exact quotient decides.
  const Tensor& golden = t.count("codes_true") > 0 ? t.at("codes_true") : t.at("codes_exact");
  bool tiny = false;
  for (int64_t b = 0; b < mine.absmax.numel(); ++b) {
    const float absmax = mine.absmax.data<float>()[b];
    tiny = tiny || (absmax > 0 && absmax < 2.94e-39f);
  }
  EXPECT_EQ(first_difference(mine.codes, tiny ? golden : t.at("codes_exact")), -1);
  const Blockwise theirs{flat(t.at("codes_cpu")), t.at("absmax"), block};
  const Tensor decoded =
      dequantize_blockwise(device(), theirs, map, t.at("deq").dtype(), Purpose::scratch);
  EXPECT_EQ(first_difference(decoded, t.at("deq")), -1);
}

int expect_file(const std::string& path) {
  const std::string name = stem(path);
  if (name == "nonfinite" || name == "nested256") return 0;
  const int64_t block = name == "edges" ? 64 : std::stoll(name.substr(2));
  for (auto& group : groups_of(read_safetensors(path))) {
    SCOPED_TRACE(name + ":" + group.first);
    expect_blockwise(group.second, map_named(name + group.first), block);
  }
  return 1;
}

TEST(Blockwise, CodesScalesAndValuesEqualTheVectorsOfTheTree) {
  int files = 0;
  for (const auto& path : vectors_in(golden_path("quant/blockwise8"))) files += expect_file(path);
  EXPECT_GE(files, 4);
}

TEST(Blockwise, CodesScalesAndValuesEqualAllSharedVectors) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/blockwise8");
  int files = 0;
  for (const auto& path : vectors_in(folder)) files += expect_file(path);
  EXPECT_GE(files, 22);
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
