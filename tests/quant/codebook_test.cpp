// The tables are data that other programs have, too: bit for bit.
#include "quant/blockwise.h"
#include "tests/quant/goldens.h"

namespace nibble::testing {
namespace {

bool same_floats(const float* mine, const Tensor& golden) {
  return std::memcmp(mine, golden.raw(), static_cast<size_t>(golden.bytes())) == 0;
}

void expect_codebooks(const std::string& path) {
  Tensors maps = read_safetensors(path);
  EXPECT_TRUE(same_floats(rule_of(Format::nf4).table, maps.at("nf4")));
  EXPECT_TRUE(same_floats(rule_of(Format::fp4).table, maps.at("fp4")));
  EXPECT_TRUE(same_floats(rule_of(Format::nf4).thresholds, maps.at("nf4_gpu_thresholds")));
  EXPECT_TRUE(same_floats(dynamic_signed_map(), maps.at("dynamic_signed")));
  EXPECT_TRUE(same_floats(dynamic_unsigned_map(), maps.at("dynamic_unsigned")));
  EXPECT_TRUE(same_floats(linear_signed_map(), maps.at("linear_s8z")));
}

TEST(Codebooks, EqualTheStoredOnesBitForBit) {
  expect_codebooks(golden_path("quant/codebooks/maps.safetensors"));
}

TEST(Codebooks, EqualTheSharedOnesBitForBit) {
  NIBBLE_REQUIRE_DATA(path, "golden/quantization/codebooks/maps.safetensors");
  expect_codebooks(path);
}

TEST(Codebooks, FourBitTablesHaveTheSharedBitPatterns) {
  NIBBLE_REQUIRE_DATA(path, "golden/quantization/codebooks/maps.json");
  const nlohmann::json maps = read_json_file(path);
  for (Format format : {Format::nf4, Format::fp4}) {
    const auto hex = maps.at(name_of(format)).at("hex").get<std::vector<std::string>>();
    ASSERT_EQ(hex.size(), 16u);
    for (size_t i = 0; i < 16; ++i) {
      uint32_t bits;
      std::memcpy(&bits, rule_of(format).table + i, 4);
      EXPECT_EQ(bits, std::stoul(hex[i], nullptr, 16)) << name_of(format) << " " << i;
    }
  }
}

TEST(Codebooks, ThresholdsAscendAndEveryCodeOccursOnce) {
  for (Format format : {Format::nf4, Format::fp4}) {
    const FormatRule& rule = rule_of(format);
    EXPECT_TRUE(std::is_sorted(rule.thresholds, rule.thresholds + 15)) << rule.name;
    unsigned seen = 0;
    for (uint8_t code : rule.order) seen |= 1u << code;
    EXPECT_EQ(seen, 0xFFFFu) << rule.name;
    EXPECT_EQ(rule.table[rule.code_of_zero], 0.0f) << rule.name;
    for (int i = 0; i + 1 < 16; ++i) {
      EXPECT_LE(rule.table[rule.order[i]], rule.table[rule.order[i + 1]]) << rule.name;
    }
  }
}

TEST(Codebooks, FormatsAreFoundByName) {
  for (const std::string& name : format_names()) {
    ASSERT_TRUE(format_named(name).has_value()) << name;
    EXPECT_EQ(name_of(*format_named(name)), name);
  }
  EXPECT_FALSE(format_named("af4").has_value());
  EXPECT_EQ(dense_format(DType::bf16), Format::bf16);
}

}  // namespace
}  // namespace nibble::testing
