// Block codes against the stored vectors of other encoders and against the definition of "nearest".
// Whatever is encoded or decoded here is so on every tier, and must come out the same.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "tests/kernels/array.h"
#include "tests/kernels/weight_cases.h"
#include "tests/support/data.h"
#include "tests/support/safetensors_lite.h"

namespace nibble::testing {
namespace {

using Tensors = std::map<std::string, Tensor>;

Tensors maps() { return read_safetensors(golden_path("quant/codebooks/maps.safetensors")); }

const std::vector<Device>& devices() {
  static const std::vector<Device> all = [] {
    std::vector<Device> made;
    for (const CpuTier tier : usable_tiers()) made.push_back(Device::cpu(2, tier));
    return made;
  }();
  return all;
}

// run(device) on each; the results are equal.
template <class Run>
auto on_all(const Run& run) {
  const auto plain = run(devices()[0]);
  for (const Device& d : devices()) EXPECT_TRUE(run(d) == plain) << name_of(d.tier());
  return plain;
}

struct Codes4 {
  std::vector<uint8_t> packed;
  std::vector<float> absmax;
  int at(int64_t i) const { return i % 2 == 0 ? packed[i / 2] >> 4 : packed[i / 2] & 15; }
  bool operator==(const Codes4& o) const { return packed == o.packed && absmax == o.absmax; }
};

Codes4 encode4(const Tensor& x, int64_t block, const float* thresholds, const uint8_t* order,
               uint8_t zero_code) {
  const int64_t n = x.numel();
  return on_all([&](const Device& d) {
    Codes4 out{std::vector<uint8_t>((n + 1) / 2, 0xAA),
               std::vector<float>((n + block - 1) / block)};
    d.kernels().quantize_4bit(d.stream(), n, x.dtype(), x.raw(), block, thresholds, order,
                              zero_code, out.packed.data(), out.absmax.data());
    return out;
  });
}

constexpr uint8_t kAscending[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// "nf4_bs64_float32" → 64.
int64_t block_of(const std::string& name) { return std::stoll(name.substr(name.find("bs") + 2)); }

TEST(Quantize4Bit, NF4CodesAndScalesEqualTheStoredVectors) {
  const Tensors tables = maps();
  for (const std::string name : {"nf4_bs32_float32", "nf4_bs64_float32"}) {
    Tensors t = read_safetensors(golden_path("quant/fourbit/" + name + ".safetensors"));
    const int64_t block = block_of(name);
    const Codes4 mine =
        encode4(t.at("in"), block, tables.at("nf4_gpu_thresholds").data<float>(), kAscending, 7);
    for (size_t b = 0; b < mine.absmax.size(); ++b) {
      EXPECT_EQ(mine.absmax[b], t.at("absmax").data<float>()[b]);
    }
    const auto* want = t.at("packed_gpu_rule").data<uint8_t>();
    for (int64_t i = 0; i < t.at("in").numel(); ++i) {
      if (mine.absmax[static_cast<size_t>(i / block)] == 0) {
        EXPECT_EQ(mine.at(i), 7);
      } else {
        ASSERT_EQ(mine.at(i), i % 2 == 0 ? want[i / 2] >> 4 : want[i / 2] & 15) << name << " " << i;
      }
    }
  }
}

TEST(Quantize4Bit, AThresholdItselfStaysDownAndItsNeighbourGoesUp) {
  const Tensors tables = maps();
  const float* thresholds = tables.at("nf4_gpu_thresholds").data<float>();
  std::vector<float> x{1.0f};
  for (int i = 0; i < 15; ++i) {
    x.push_back(thresholds[i]);
    x.push_back(std::nextafter(thresholds[i], 2.0f));
  }
  const int64_t n = static_cast<int64_t>(x.size());
  const Codes4 mine =
      encode4(Tensor::wrap(x.data(), {n}, DType::f32), 64, thresholds, kAscending, 7);
  EXPECT_EQ(mine.at(0), 15);
  for (int i = 0; i < 15; ++i) {
    EXPECT_EQ(mine.at(1 + 2 * i), i);
    EXPECT_EQ(mine.at(2 + 2 * i), i + 1);
  }
  EXPECT_EQ(mine.at(n), 7);  // n is odd: the last half byte is padding
}

TEST(Quantize4Bit, OddBlocksAndTheOrderOfCodesAreRespected) {
  const Array source = Array::random(DType::bf16, 1001, 3);
  const float thresholds[15] = {-7, -6, -5, -4, -3, -2, -0.25f, 0.25f, 2, 3, 4, 5, 6, 7, 8};
  uint8_t order[16];
  for (int i = 0; i < 16; ++i) order[i] = static_cast<uint8_t>(i * 5 % 16);
  Array x = source;
  const Codes4 mine = encode4(Tensor::wrap(x.raw(), {1001}, DType::bf16), 7, thresholds, order, 9);
  for (int64_t i = 0; i < 1001; ++i) {
    double largest = 0;
    for (int64_t j = i / 7 * 7; j < std::min<int64_t>(1001, i / 7 * 7 + 7); ++j) {
      largest = std::max(largest, std::abs(x[j]));
    }
    const double s = x[i] / largest;
    if (std::abs(std::abs(s) - 0.25) < 1e-6) continue;
    ASSERT_EQ(mine.at(i), order[s < -0.25 ? 6 : s < 0.25 ? 7 : 8]) << i;
  }
}

TEST(Quantize4Bit, ScalesWithoutAFiniteReciprocalUseTheQuotient) {
  const Tensors tables = maps();
  std::vector<float> x{1e-40f, 0.5e-40f, -1e-40f, 0, 0.3e-40f};
  const Codes4 mine = encode4(Tensor::wrap(x.data(), {5}, DType::f32), 64,
                              tables.at("nf4_gpu_thresholds").data<float>(), kAscending, 7);
  EXPECT_EQ(mine.absmax[0], 1e-40f);
  EXPECT_EQ((std::vector<int>{mine.at(0), mine.at(1), mine.at(2), mine.at(3), mine.at(4)}),
            (std::vector<int>{15, 12, 0, 7, 11}));
}

struct Codes8 {
  std::vector<uint8_t> codes;
  std::vector<float> absmax;
  bool operator==(const Codes8& o) const { return codes == o.codes && absmax == o.absmax; }
};

Codes8 encode8_on(const Device& d, const Tensor& x, int64_t block, const float* map) {
  const int64_t n = x.numel();
  Codes8 out{std::vector<uint8_t>(n), std::vector<float>((n + block - 1) / block)};
  d.kernels().quantize_8bit(d.stream(), n, x.dtype(), x.raw(), block, map, out.codes.data(),
                            out.absmax.data());
  return out;
}

Codes8 encode8(const Tensor& x, int64_t block, const float* map) {
  return on_all([&](const Device& d) { return encode8_on(d, x, block, map); });
}

const float* map_for(const Tensors& tables, const std::string& name) {
  if (name.find("unsigned") != std::string::npos)
    return tables.at("dynamic_unsigned").data<float>();
  if (name.find("linear") != std::string::npos) return tables.at("linear_s8z").data<float>();
  return tables.at("dynamic_signed").data<float>();
}

void expect_golden(const Tensors& t, const std::string& prefix, int64_t block, const float* map) {
  const Tensor& in = t.at(prefix + "in");
  const Codes8 mine = encode8(in, block, map);
  const auto* want = t.at(prefix + "codes_exact").data<uint8_t>();
  const bool has_true = t.count(prefix + "codes_true") > 0;
  for (int64_t i = 0; i < in.numel(); ++i) {
    const float absmax = mine.absmax[static_cast<size_t>(i / block)];
    ASSERT_EQ(absmax, t.at(prefix + "absmax").data<float>()[i / block]);
    const bool tiny = has_true && absmax < 2.94e-39f;  // 1 / absmax overflows: the exact quotient
    ASSERT_EQ(mine.codes[static_cast<size_t>(i)],
              tiny ? t.at(prefix + "codes_true").data<uint8_t>()[i] : want[i])
        << prefix << i;
  }
  const Array back = on_all([&](const Device& d) {
    Array y = Array::zeros(in.dtype(), in.numel());
    d.kernels().dequantize_8bit(d.stream(), in.numel(), t.at(prefix + "codes_cpu").data<uint8_t>(),
                                block, map, mine.absmax.data(), in.dtype(), y.raw());
    return y;
  });
  EXPECT_EQ(std::memcmp(back.raw(), t.at(prefix + "deq").raw(), back.bytes().size()), 0) << prefix;
}

TEST(Quantize8Bit, CodesScalesAndValuesEqualTheStoredVectors) {
  const Tensors tables = maps();
  const std::string folder = golden_path("quant/blockwise8");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().stem().string();
    SCOPED_TRACE(name);
    const Tensors t = read_safetensors(entry.path().string());
    if (name != "edges") {
      expect_golden(t, "", block_of(name), map_for(tables, name));
      continue;
    }
    for (const auto& item : t) {
      const size_t dot = item.first.rfind(".in");
      if (dot == std::string::npos || dot + 3 != item.first.size()) continue;
      const std::string prefix = item.first.substr(0, dot + 1);
      expect_golden(t, prefix, 64, map_for(tables, prefix));
    }
  }
}

TEST(Quantize8Bit, CodesScalesAndValuesEqualAllSharedVectors) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/blockwise8");
  const Tensors tables = maps();
  std::ifstream in(folder + "/cases.json");
  const nlohmann::json listed = nlohmann::json::parse(in);
  ASSERT_FALSE(listed.at("cases").empty());
  for (const auto& c : listed.at("cases")) {
    const auto name = c.at("file").get<std::string>();
    SCOPED_TRACE(name);
    const size_t colon = name.find(':');
    const std::string prefix = colon == std::string::npos ? "" : name.substr(colon + 1) + ".";
    expect_golden(read_safetensors(folder + "/" + name.substr(0, colon) + ".safetensors"), prefix,
                  c.at("blocksize").get<int64_t>(), map_for(tables, c.at("map")));
  }
}

// By the definition: an entry gives way to the next one that is strictly nearer, x - a > b - x. The
// 64 bits of a long double hold 2x and the sum of two entries exactly.
int nearest_by_definition(float x, const float* map) {
  int best = 0;
  for (int c = 1; c < 256; ++c) {
    const long double sum = static_cast<long double>(map[best]) + static_cast<long double>(map[c]);
    if (2 * static_cast<long double>(x) > sum) best = c;
  }
  return best;
}

// Values over the whole range of the map, all borders and their neighbours.
std::vector<float> probes(const float* map) {
  std::vector<float> x{1.0f};
  for (int c = 0; c + 1 < 256; ++c) {
    float m = (map[c] + map[c + 1]) / 2;
    m = std::nextafter(std::nextafter(m, -2.0f), -2.0f);
    for (int k = 0; k < 5; ++k, m = std::nextafter(m, 2.0f)) x.push_back(m);
    x.push_back(map[c]);
  }
  std::mt19937 random(5);
  for (int i = 0; i < 20000; ++i) {
    const float size =
        std::ldexp(static_cast<float>(random() >> 8), -24 - static_cast<int>(random() % 28));
    x.push_back(random() % 2 == 0 ? size : -size);
  }
  for (float& v : x) v = std::clamp(v, -1.0f, 1.0f);
  x.push_back(0.0f);
  x.push_back(-0.0f);
  return x;
}

TEST(Quantize8Bit, EveryCodeIsTheNearestByDefinition) {
  const Tensors tables = maps();
  std::vector<float> clustered(256), random_map(256);
  std::mt19937 random(9);
  for (int c = 0; c < 256; ++c) {
    clustered[static_cast<size_t>(c)] = c < 100 ? -1 + static_cast<float>(c) * 0x1p-20f
                                                : 0.25f + static_cast<float>(c / 2) * 0x1p-18f;
    random_map[static_cast<size_t>(c)] = std::ldexp(static_cast<float>(random() >> 8), -23) - 1;
  }
  std::sort(random_map.begin(), random_map.end());
  // A border at 0; entries of one sign; borders too small for cells of a float's upper bits.
  std::vector<float> no_zero(256), negative(256), tiny(256);
  for (int c = 0; c < 256; ++c) {
    no_zero[static_cast<size_t>(c)] = static_cast<float>(2 * c - 255) / 255.0f;
    negative[static_cast<size_t>(c)] = static_cast<float>(c - 256) / 300.0f;
    tiny[static_cast<size_t>(c)] = std::copysign(std::ldexp(1.0f, -std::abs(c - 128)), c - 127.5f);
  }
  std::sort(tiny.begin(), tiny.end());
  const float* all[] = {no_zero.data(),
                        negative.data(),
                        tiny.data(),
                        tables.at("dynamic_signed").data<float>(),
                        tables.at("dynamic_unsigned").data<float>(),
                        tables.at("linear_s8z").data<float>(),
                        clustered.data(),
                        random_map.data()};
  for (const float* map : all) {
    std::vector<float> x = probes(map);
    for (const int64_t n : {static_cast<int64_t>(x.size()), int64_t{2000}}) {  // table and search
      const Codes8 mine = encode8(Tensor::wrap(x.data(), {n}, DType::f32), n, map);
      ASSERT_EQ(mine.absmax[0], 1.0f);
      for (int64_t i = 0; i < n; ++i) {
        const float value = x[static_cast<size_t>(i)];  // entries may repeat: their values count
        ASSERT_EQ(map[mine.codes[static_cast<size_t>(i)]], map[nearest_by_definition(value, map)])
            << value;
      }
    }
  }
}

// Everything a row may meet at once: sizes around vectors and pieces, zero and tiny blocks.
TEST(BlockCodes, AllTiersGiveTheSameBytes) {
  const Tensors tables = maps();
  const float* map = tables.at("dynamic_signed").data<float>();
  const float* thresholds = tables.at("nf4_gpu_thresholds").data<float>();
  for (const DType t : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
    for (const int64_t block : {32, 64, 128, 256, 512, 1024, 2048, 4096, 96, 100}) {
      for (const int64_t n : {1, 31, 64, 65, 1023, 1024, 5000, 12345, 70001}) {
        const ::testing::ScopedTrace trace(__FILE__, __LINE__,
                                           cat(name_of(t), " block ", block, " n ", n));
        Array x = Array::random(t, n, static_cast<uint64_t>(n + block), 0.02);
        for (int64_t i = block; i < std::min(n, 2 * block); ++i) x.set(i, 0);
        for (int64_t i = 2 * block; i < std::min(n, 3 * block); ++i) x.set(i, x[i] * 1e-38);
        const Tensor values = Tensor::wrap(x.raw(), {n}, t);
        encode4(values, block, thresholds, kAscending, 7);
        const Codes8 coded = encode8(values, block, map);
        on_all([&](const Device& d) {
          Array y = Array::zeros(t, n);
          d.kernels().dequantize_8bit(d.stream(), n, coded.codes.data(), block, map,
                                      coded.absmax.data(), t, y.raw());
          return y;
        });
      }
    }
  }
}

TEST(BlockCodes, TheFirstNonFiniteValueIsFoundWhereverItLies) {
  for (const DType t : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
    const int64_t n = 300001;
    Array x = Array::random(t, n, 5);
    const auto find = [&](const Device& d) {
      int64_t index = 7;
      d.kernels().find_nonfinite(d.stream(), n, t, x.raw(), &index);
      return index;
    };
    EXPECT_EQ(on_all(find), -1);
    x.set(n - 1, INFINITY);
    EXPECT_EQ(on_all(find), n - 1);
    x.set(150007, NAN);
    EXPECT_EQ(on_all(find), 150007);
    x.set(4097, -INFINITY);
    EXPECT_EQ(on_all(find), 4097);
    x.set(0, -NAN);
    EXPECT_EQ(on_all(find), 0);
  }
}

TEST(Quantize8Bit, AZeroBlockGetsTheCodeOfZero) {
  const Tensors tables = maps();
  std::vector<float> x(100, 0.0f);
  x[70] = 2;
  const Codes8 mine = encode8(Tensor::wrap(x.data(), {100}, DType::f32), 64,
                              tables.at("dynamic_signed").data<float>());
  for (size_t i = 0; i < 100; ++i) EXPECT_EQ(mine.codes[i], i == 70 ? 255 : 127);
  EXPECT_EQ(mine.absmax[0], 0.0f);
  EXPECT_EQ(mine.absmax[1], 2.0f);
}

TEST(Quantize8Bit, NonFiniteValuesReadNothingOutside) {
  const Tensors tables = maps();
  for (const int64_t n : {64, 8192}) {
    std::vector<float> x(static_cast<size_t>(n), 0.5f);
    x[1] = NAN;
    x[2] = -NAN;
    x[3] = INFINITY;
    x[4] = -INFINITY;
    for (const Device& d : devices()) {
      const Tensor values = Tensor::wrap(x.data(), {n}, DType::f32);
      const Codes8 mine = encode8_on(d, values, 64, tables.at("dynamic_signed").data<float>());
      EXPECT_TRUE(std::isnan(mine.absmax[0]));  // and says so; the codes are some codes
      if (n > 64) {
        EXPECT_EQ(mine.absmax[1], 0.5f);
      }
    }
  }
}

}  // namespace
}  // namespace nibble::testing
