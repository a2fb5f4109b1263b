// A matrix of millions of weights, known by the hashes of what becomes of it.
#include <gtest/gtest.h>

#include "quant/blockwise.h"
#include "quant/double_quant.h"
#include "tests/quant/goldens.h"
#include "tests/quant/hash.h"
#include "tests/support/generator.h"

namespace nibble::testing {
namespace {

uint16_t bf16_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct Large : ::testing::Test {
  nlohmann::json hashes;
  Tensor w;

  // Made once for all tests: (N, K) bf16.
  void SetUp() override {
    NIBBLE_REQUIRE_DATA(path, "golden/quantization/large/hashes.json");
    hashes = read_json_file(path);
    static Tensor made;
    if (!made.defined()) {
      const auto seed = hashes.at("seed").get<uint64_t>();
      made = new_tensor({hashes.at("shape")[0], hashes.at("shape")[1]}, DType::bf16);
      for (int64_t i = 0; i < made.numel(); ++i) {
        const float x = std::ldexp(bell(seed, static_cast<uint64_t>(i)), -5);
        made.data<uint16_t>()[i] = bf16_bits(x);
      }
    }
    w = made;
    ASSERT_EQ(hash_of(w), hashes.at("input_sha256_bf16_le"));
  }
  // "nf4_bs64_dq" → its block.
  static int64_t block_of(const std::string& key) {
    return std::stoll(key.substr(key.find("_bs") + 3));
  }
};

// The codes of bitsandbytes' CPU library (quantization.md): the nearest entry of the middle of one
// of 65536 equal cells. Needed only to read scales that it made.
Tensor codes_by_cells(const Tensor& values, const Tensor& absmax, int64_t block, const float* map) {
  std::vector<uint8_t> cells(65536);
  int code = 0;
  for (int cell = 0; cell < 65536; ++cell) {
    const auto middle = static_cast<float>(static_cast<double>(cell) * 2 / 65535 - 1);
    while (code < 255 && middle > (static_cast<double>(map[code]) + map[code + 1]) / 2) ++code;
    cells[static_cast<size_t>(cell)] = static_cast<uint8_t>(code);
  }
  Tensor codes = new_tensor(values.shape(), DType::u8);
  for (int64_t i = 0; i < values.numel(); ++i) {
    const float scaled = values.data<float>()[i] * (1 / absmax.data<float>()[i / block]);
    const float place = (scaled + 1.0f) * 0.5f * 65535.0f + 0.5f;
    const auto cell = static_cast<int>(std::floor(place));
    codes.data<uint8_t>()[i] = cells[static_cast<size_t>(std::clamp(cell, 0, 65535))];
  }
  return codes;
}

// The codes of bitsandbytes' torch path: it decides at midpoints of its own, which for FP4 are a
// few ulp off those of the GPU.
Tensor codes_by_midpoints(const Tensor& w, const Weight& like, Tensors& maps) {
  const std::string name = name_of(like.format);
  Tensor codes = copy_of(like.codes), absmax = new_tensor({like.blocks()}, DType::f32);
  const Tensor& order = maps.at("fp4_torch_order");
  const uint8_t* codes_up =
      like.format == Format::fp4 ? order.data<uint8_t>() : rule_of(like.format).order;
  device().kernels().quantize_4bit(device().stream(), w.numel(), w.dtype(), w.raw(), like.block,
                                   maps.at(name + "_torch_midpoints").data<float>(), codes_up,
                                   rule_of(like.format).code_of_zero, codes.data<uint8_t>(),
                                   absmax.data<float>());
  return codes;
}

// Replaces the scales of `q` with those that bitsandbytes nested, after checking our own.
void nest_as_stored(const nlohmann::json& want, const Tensor& absmax, Weight& q) {
  EXPECT_EQ(q.nested->offset, want.at("offset_fp64_mean").get<float>());
  const auto bits =
      static_cast<uint32_t>(std::stoul(want.at("offset_hex").get<std::string>(), nullptr, 16));
  float offset;
  std::memcpy(&offset, &bits, 4);
  q.nested = nest_scales(device(), absmax, offset, Purpose::scratch);
  EXPECT_EQ(hash_of(q.nested->absmax2), want.at("nested_absmax_sha256"));
  EXPECT_EQ(hash_of(q.nested->codes), want.at("absmax_u8_exact_sha256"));
  Tensor centred = copy_of(absmax);
  for (int64_t i = 0; i < centred.numel(); ++i) centred.data<float>()[i] -= offset;
  q.nested->codes = codes_by_cells(centred, q.nested->absmax2, 256, q.nested->map.data<float>());
  EXPECT_EQ(hash_of(q.nested->codes), want.at("absmax_u8_cpu_sha256"));
}

TEST_F(Large, FourBitCodesScalesAndValuesHaveTheRecordedHashes) {
  NIBBLE_REQUIRE_DATA(tables, "golden/quantization/codebooks/maps.safetensors");
  Tensors maps = read_safetensors(tables);
  int sets = 0;
  for (const auto& entry : hashes.items()) {
    const std::string& key = entry.key();
    const auto format = format_named(key.substr(0, key.find('_')));
    if (!format || !entry.value().contains("packed_gpu_rule_sha256")) continue;
    SCOPED_TRACE(key);
    ++sets;
    const nlohmann::json& want = entry.value();
    const bool nested = want.contains("nested_absmax_sha256");
    Weight q = quantize(device(), w, {*format, block_of(key), nested}, key);
    EXPECT_EQ(hash_of(q.codes), want.at("packed_gpu_rule_sha256"));
    const Tensor absmax =
        nested ? quantize(device(), w, {*format, block_of(key), false}, key).scales : q.scales;
    EXPECT_EQ(hash_of(absmax), want.at("absmax_fp32_sha256"));
    if (nested) nest_as_stored(want, absmax, q);
    q.codes = codes_by_midpoints(w, q, maps);
    EXPECT_EQ(hash_of(q.codes), want.at("packed_sha256"));
    EXPECT_EQ(hash_of(dequantize(device(), q, DType::bf16)), want.at("dequantized_bf16_sha256"));
    if (!panel_fits(q)) continue;
    const Weight panel = to_panel(device(), q, Purpose::scratch);
    EXPECT_EQ(hash_of(dequantize(device(), panel, DType::bf16)),
              want.at("dequantized_bf16_sha256"));
  }
  EXPECT_GT(sets, 0);
}

TEST_F(Large, EightBitCodesAndScalesHaveTheRecordedHashes) {
  int sets = 0;
  for (const auto& entry : hashes.items()) {
    if (!starts_with(entry.key(), "blockwise8_")) continue;
    SCOPED_TRACE(entry.key());
    ++sets;
    const Blockwise q = quantize_blockwise(device(), w, dynamic_signed_map(), block_of(entry.key()),
                                           Purpose::scratch);
    EXPECT_EQ(hash_of(q.codes), entry.value().at("codes_exact_sha256"));
    EXPECT_EQ(hash_of(q.absmax), entry.value().at("absmax_sha256"));
  }
  EXPECT_GT(sets, 0);
}

}  // namespace
}  // namespace nibble::testing
