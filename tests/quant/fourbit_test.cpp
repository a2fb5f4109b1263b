// NF4 and FP4 codes, scales and decoded values against bitsandbytes and an independent encoder.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/errors.h"
#include "quant/double_quant.h"
#include "quant/quant_state.h"
#include "tests/quant/goldens.h"

namespace nibble::testing {
namespace {

const std::map<std::string, DType> kDecoded = {
    {"deq_float32", DType::f32}, {"deq_bfloat16", DType::bf16}, {"deq_float16", DType::f16}};

// Scales below this have no finite reciprocal; there the code is that of the exact quotient, while
// the golden encoder multiplies by inf.
constexpr float kReciprocalOverflows = 2.94e-39f;

int code_at(const Tensor& packed, int64_t i) {
  const uint8_t byte = packed.data<uint8_t>()[i / 2];
  return i % 2 == 0 ? byte >> 4 : byte & 15;
}

// The scales of `in` (a row) are the largest magnitudes, codes those of the golden encoder.
void expect_codes(Tensors& t, const Tensor& in, const Weight& plain, const Weight& mine) {
  const int64_t n = in.numel(), block = plain.block;
  for (int64_t b = 0; b < plain.blocks(); ++b) {
    const float absmax = plain.scales.data<float>()[b];
    const int64_t end = std::min(n, (b + 1) * block);
    double largest = 0;
    for (int64_t i = b * block; i < end; ++i)
      largest = std::max(largest, std::abs(value_at(in, i)));
    ASSERT_EQ(absmax, largest) << "block " << b;
    if (t.count("absmax") > 0) {
      // bitsandbytes' torch path raises the scale of a short last block, and only of that, to
      // 1e-38.
      const bool raised = (b + 1) * block > n && absmax < 1e-38f;
      ASSERT_EQ(raised ? 1e-38f : absmax, t.at("absmax").data<float>()[b]) << "block " << b;
    }
    if (absmax > 0 && absmax < kReciprocalOverflows) continue;
    for (int64_t i = b * block; i < end; ++i) {
      ASSERT_EQ(code_at(mine.codes, i), code_at(t.at("packed_gpu_rule"), i)) << "element " << i;
    }
  }
  if (n % 2 != 0) {
    EXPECT_EQ(code_at(mine.codes, n), rule_of(mine.format).code_of_zero);
  }
}

// Puts the stored scales of a nested case in `theirs`, and checks that they are ours.
void expect_nested(Tensors& t, const Weight& plain, Weight& theirs) {
  Nested& n = *theirs.nested;
  const float offset = n.offset;
  n.offset = t.at("offset").data<float>()[0];
  EXPECT_NEAR(offset, n.offset, 2 * std::ldexp(std::abs(n.offset), -23));
  const Nested again = nest_scales(device(), plain.scales, n.offset, Purpose::scratch);
  EXPECT_EQ(first_difference(again.codes, t.at("absmax_u8_exact")), -1);
  EXPECT_EQ(first_difference(again.absmax2, t.at("nested_absmax")), -1);
  n.codes = t.at("absmax_u8");
  n.absmax2 = t.at("nested_absmax");
  const Tensor scales = unnest_scales(device(), n, Purpose::scratch);
  EXPECT_EQ(first_difference(scales, t.at("absmax_decoded")), -1);
}

// Codes, absmax and decoded values of one group of tensors.
void expect_fourbit(Tensors& t, Format format, int64_t block) {
  const Tensor in = one_row(t.at("in"));
  const bool nested = t.count("absmax_u8") > 0;
  const Weight mine = quantize(device(), in, {format, block, nested}, "golden");
  const Weight plain = quantize(device(), in, {format, block, false}, "golden");
  expect_codes(t, in, plain, mine);
  Weight theirs = mine;
  theirs.codes = flat(t.at("packed"));
  if (nested) {
    expect_nested(t, plain, theirs);
  } else {
    theirs.scales = t.at("absmax");
  }
  for (const auto& entry : kDecoded) {
    if (t.count(entry.first) == 0) continue;
    theirs.value_dtype = entry.second;
    const Tensor decoded = dequantize(device(), theirs, entry.second);
    EXPECT_EQ(first_difference(decoded, t.at(entry.first)), -1) << entry.first;
  }
}

TEST(Fourbit, CodesScalesAndValuesEqualTheVectorsOfTheTree) {
  // "nf4_bs64_float32", "dq_fp4_bs256_bfloat16_20blocks", or groups "nf4.float32.unit" of 64.
  for (const auto& path : vectors_in(golden_path("quant/fourbit"))) {
    const std::string name = stem(path);
    const size_t bs = name.find("_bs");
    const int64_t block = bs == std::string::npos ? 64 : std::stoll(name.substr(bs + 3));
    for (auto& group : groups_of(read_safetensors(path))) {
      SCOPED_TRACE(name + ":" + group.first);
      const bool fp4 = (name + "." + group.first).find("fp4") != std::string::npos;
      expect_fourbit(group.second, fp4 ? Format::fp4 : Format::nf4, block);
    }
  }
}

TEST(Fourbit, CodesScalesAndValuesEqualAllSharedVectors) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/fourbit");
  for_each_case(folder, "type", {"storage", "nonfinite"}, [](GoldenCase& c) {
    const Format format = *format_named(c.facts.at("type").get<std::string>());
    const auto block = c.facts.at("blocksize").get<int64_t>();
    ASSERT_EQ(c.tensors.at("in").numel(), c.facts.at("n").get<int64_t>());
    expect_fourbit(c.tensors, format, block);
  });
}

// The same bytes under another dtype.
TEST(Fourbit, StorageTypesChangeNoByte) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/fourbit");
  Tensors t = read_safetensors(folder + "/storage.safetensors");
  const Weight mine = quantize(device(), t.at("in"), {Format::nf4, 64, false}, "storage");
  EXPECT_TRUE(same_bytes(mine.scales, t.at("absmax")));
  int storages = 0;
  for (auto& entry : t) {
    if (!starts_with(entry.first, "packed_")) continue;
    ++storages;
    SCOPED_TRACE(entry.first);
    EXPECT_TRUE(same_bytes(mine.codes, entry.second));
    const NamedTensors written = write_quant_state(device(), "", mine, entry.second.dtype());
    EXPECT_EQ(written.at(0).second.shape().str(), entry.second.shape().str());
    EXPECT_TRUE(same_bytes(written.at(0).second, entry.second));
  }
  EXPECT_GT(storages, 1);
  EXPECT_EQ(first_difference(dequantize(device(), mine, t.at("in").dtype()), t.at("deq")), -1);
}

// What bitsandbytes makes of NaN and Inf is read as stored; making it is refused.
TEST(Fourbit, StoredNonFiniteScalesDecodeAndNewOnesAreRefused) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/fourbit");
  for (auto& [name, t] : groups_of(read_safetensors(folder + "/nonfinite.safetensors"))) {
    SCOPED_TRACE(name);
    const Tensor in = one_row(t.at("in"));
    const Format format = *format_named(name.substr(0, name.find('.')));
    int64_t place = 0;
    while (std::isfinite(value_at(in, place))) ++place;
    try {
      quantize(device(), in, {format, 64, false}, "q_proj");
      FAIL() << "quantized what is not finite";
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(cat("[0, ", place, "]")), std::string::npos);
    }
    Weight theirs = quantize(device(), new_tensor(in.shape(), DType::f32), {format, 64, false}, "");
    theirs.codes = flat(t.at("packed"));
    theirs.scales = t.at("absmax");
    EXPECT_EQ(first_difference(dequantize(device(), theirs, DType::f32), t.at("deq_float32")), -1);
  }
}

TEST(Fourbit, TinyBlocksGetTheCodesOfTheExactQuotient) {
  Tensor w = new_tensor({1, 64}, DType::f32);
  for (int i = 0; i < 64; ++i) w.data<float>()[i] = static_cast<float>(i - 32) * 1e-42f;
  for (Format format : {Format::nf4, Format::fp4}) {
    const Weight q = quantize(device(), w, {format, 64, false}, "tiny");
    Tensor big = copy_of(w);
    const float top = w.data<float>()[0];
    for (int i = 0; i < 64; ++i) {
      big.data<float>()[i] = static_cast<float>(static_cast<double>(w.data<float>()[i]) / -top);
    }
    const Weight same = quantize(device(), big, {format, 64, false}, "big");
    EXPECT_EQ(first_difference(q.codes, same.codes), -1) << name_of(format);
  }
}

TEST(Fourbit, AZeroBlockDecodesToZeroAlsoWhenItsScaleIsNested) {
  for (Format format : {Format::nf4, Format::fp4}) {
    for (bool nested : {false, true}) {
      Tensor w = new_tensor({1, 3 * 64 + 5}, DType::f32);
      for (int i = 0; i < 64; ++i) w.data<float>()[64 + i] = static_cast<float>(i - 31);
      const Weight q = quantize(device(), w, {format, 64, nested}, "zeros");
      const Tensor decoded = dequantize(device(), q, DType::f32);
      for (int i : {0, 63, 128, 191, 192, 196}) EXPECT_EQ(value_at(decoded, i), 0.0) << i;
      EXPECT_NEAR(value_at(decoded, 64 + 63), 32.0, nested ? 0.3 : 0.0);
      if (!nested) {
        EXPECT_EQ(q.scales.data<float>()[0], 0.0f);
      }
    }
  }
}

TEST(Fourbit, NanAndInfAreRefusedWithTheirPlace) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    Tensor w = new_tensor({4, 48}, dtype);
    if (dtype == DType::f32) {
      w.data<float>()[2 * 48 + 7] = -INFINITY;
    } else {
      w.data<uint16_t>()[2 * 48 + 7] = dtype == DType::bf16 ? 0xFF80 : 0xFC00;
    }
    try {
      quantize(device(), w, {}, "m.safetensors: q_proj.weight");
      FAIL() << "quantized an Inf";
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), Exit::bad_data);
      const std::string what = error.what();
      EXPECT_NE(what.find("q_proj.weight"), std::string::npos) << what;
      EXPECT_NE(what.find("[2, 7]"), std::string::npos) << what;
      EXPECT_NE(what.find("-Inf"), std::string::npos) << what;
    }
  }
  Tensor w = new_tensor({1, 3}, DType::f32);
  w.data<float>()[2] = NAN;
  EXPECT_THROW(quantize(device(), w, {}, "w"), UserError);
}

TEST(Fourbit, ABlockSizeThatIsNotOfferedIsRefused) {
  const Tensor w = new_tensor({1, 64}, DType::f32);
  for (int64_t block : {int64_t{0}, int64_t{-64}, int64_t{16}, int64_t{96}, int64_t{8192}}) {
    EXPECT_THROW(quantize(device(), w, {Format::nf4, block, false}, "w"), UserError) << block;
  }
}

TEST(Fourbit, ColumnWindowsAreQuantizedAsTheirCopy) {
  Tensor whole = new_tensor({5, 200}, DType::f32);
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 1000; ++i) whole.data<float>()[i] = normal(random);
  const Tensor window = whole.columns(70, 170);
  Tensor copy = new_tensor({5, 100}, DType::f32);
  for (int r = 0; r < 5; ++r) {
    std::memcpy(copy.data<float>() + r * 100, whole.data<float>() + r * 200 + 70, 400);
  }
  const Weight a = quantize(device(), window, {}, "window");
  const Weight b = quantize(device(), copy, {}, "copy");
  EXPECT_TRUE(same_bytes(a.codes, b.codes));
  EXPECT_TRUE(same_bytes(a.nested->codes, b.nested->codes));
}

struct Errors {
  double absolute = 0, relative = 0, square = 0;  // means; the last its root
};

Errors errors_of(const Tensor& w, const QuantSpec& spec) {
  const Tensor decoded =
      dequantize(device(), quantize(device(), w, spec, "normal"), DType::f32, Purpose::scratch);
  Errors e;
  const auto n = static_cast<double>(w.numel());
  for (int64_t i = 0; i < w.numel(); ++i) {
    const double x = w.data<float>()[i], error = std::abs(decoded.data<float>()[i] - x);
    e.absolute += error / n;
    e.relative += error / (std::abs(x) + 1e-8) / n;
    e.square += error * error / n;
  }
  e.square = std::sqrt(e.square);
  return e;
}

// Published means of the error on N(0, 1) weights, by block size 32 … 4096; sd of the largest.
TEST(Fourbit, ErrorsOfNormalWeightsAreThePublishedOnes) {
  const double nf4_abs[] = {.067746, .072798, .076831, .080337, .083547, .086610, .089592, .092547};
  const double fp4_abs[] = {.088925, .096543, .102969, .108684, .114115, .119333, .124556, .129536};
  const double nf4_rel[] = {.189726, .203339, .215237, .226105, .236079, .245370, .254163, .262473};
  const double fp4_rel[] = {.242443, .260125, .275817, .289831, .302881, .315000, .326607, .337169};
  const double nf4_rmse_dq[] = {.08737, .09205, .09560, .09864, .10144, .10418, .10701, .10997};
  Tensor w = new_tensor({1024, 1024}, DType::f32);
  std::mt19937_64 random(20240607);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < w.numel(); ++i) w.data<float>()[i] = normal(random);
  for (int i = 0; i < 8; ++i) {
    const int64_t block = 32 << i;
    SCOPED_TRACE(block);
    const double within = block <= 1024 ? .005 : .012;  // 256 blocks are few: the sd alone is .4 %
    const Errors nf4 = errors_of(w, {Format::nf4, block, false});
    const Errors fp4 = errors_of(w, {Format::fp4, block, false});
    EXPECT_NEAR(nf4.absolute / nf4_abs[i], 1, within);
    EXPECT_NEAR(fp4.absolute / fp4_abs[i], 1, within);
    EXPECT_NEAR(nf4.relative / nf4_rel[i], 1, within);
    EXPECT_NEAR(fp4.relative / fp4_rel[i], 1, within);
    EXPECT_NEAR(errors_of(w, {Format::nf4, block, true}).square / nf4_rmse_dq[i], 1, within);
  }
}

}  // namespace
}  // namespace nibble::testing
