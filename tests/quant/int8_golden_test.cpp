// LLM.int8() against bitsandbytes: codes, scales, integer sums, results with its outlier columns,
// the backward product, its checkpoints and a large matrix by its hash.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <set>

#include "tests/quant/goldens.h"
#include "tests/quant/hash.h"
#include "tests/support/generator.h"

namespace nibble::testing {
namespace {

nlohmann::json json_of(const std::string& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

QuantSpec int8_spec() {
  QuantSpec spec;
  spec.format = Format::int8;
  return spec;
}

std::vector<Device>& every_device() {
  static std::vector<Device> all = [] {
    const CpuFeatures& f = cpu_features();
    std::vector<Device> devices;
    devices.push_back(Device::cpu(1, CpuTier::scalar));
    if (f.avx2 && f.fma && f.f16c && f.bmi2) devices.push_back(Device::cpu(2, CpuTier::avx2));
    if (devices.size() == 2 && f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq) {
      devices.push_back(Device::cpu(2, CpuTier::avx512));
    }
    return devices;
  }();
  return all;
}

Tensor cast_to(const Tensor& x, DType to) {
  Tensor y = new_tensor(x.shape(), to);
  const Device& on = every_device()[0];
  on.kernels().cast(on.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), to, y.raw(),
                    y.pitch());
  return y;
}

double as_double(const Tensor& t, int64_t i) {
  if (t.dtype() == DType::f64) return t.data<double>()[i];
  return t.dtype() == DType::i8 ? t.data<int8_t>()[i] : value_at(t, i);
}

// Codes are equal, or differ by one in at most one of 2000.
void expect_codes(const Tensor& mine, const Tensor& theirs) {
  ASSERT_EQ(mine.numel(), theirs.numel());
  int64_t different = 0;
  for (int64_t i = 0; i < mine.numel(); ++i) {
    const int apart = std::abs(mine.data<int8_t>()[i] - theirs.data<int8_t>()[i]);
    ASSERT_LE(apart, 1) << i;
    different += apart;
  }
  EXPECT_LE(different * 2000, mine.numel()) << "codes differ by one";
}

// The columns that have an element beyond the threshold, as flags.
std::vector<uint8_t> columns_beyond(const Tensor& x, double threshold) {
  std::vector<uint8_t> flags(static_cast<size_t>(x.cols()));
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (std::fabs(value_at(x, i)) >= threshold) flags[static_cast<size_t>(i % x.cols())] = 1;
  }
  return flags;
}

// {"0", "6"} for tensors "t0.CA", "t6.CA".
std::set<std::string> thresholds_of(const Tensors& t) {
  std::set<std::string> found;
  for (const auto& entry : t) {
    const size_t at = entry.first.find(".CA");
    if (at != std::string::npos) found.insert(entry.first.substr(1, at - 1));
  }
  return found;
}

Weight weight_of(const Tensor& codes, const Tensor& scb) {
  Weight w;
  w.format = Format::int8;
  w.out = codes.rows(), w.in = w.block = codes.cols();
  w.codes = codes;
  w.scales = scb;
  return w;
}

double largest(const Tensor& t) {
  double most = 0;
  for (int64_t i = 0; i < t.numel(); ++i) most = std::max(most, std::fabs(as_double(t, i)));
  return most;
}

struct Int8Case {
  Tensors t;
  std::string threshold;  // as the names of tensors have it
  double bound() const { return std::stod(threshold); }
  const Tensor& at(const std::string& name) const { return t.at("t" + threshold + "." + name); }
};

void expect_activation_codes(const Device& on, const Int8Case& c) {
  const Tensor& x = c.t.at("x");
  const double threshold = c.bound();
  std::vector<uint8_t> columns;
  if (threshold > 0) {
    columns = columns_beyond(x, threshold);
    std::vector<int64_t> mine;
    for (int64_t k = 0; k < x.cols(); ++k) {
      if (columns[static_cast<size_t>(k)] != 0) mine.push_back(k);
    }
    const Tensor& theirs = c.at("outlier_cols");
    EXPECT_EQ(mine, std::vector<int64_t>(theirs.data<int64_t>(),
                                         theirs.data<int64_t>() + theirs.numel()));
  }
  const Tensor codes = new_tensor(x.shape(), DType::i8),
               absmax = new_tensor({x.rows()}, DType::f32);
  on.kernels().quantize_rows(on.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(),
                             threshold, columns.empty() ? nullptr : columns.data(),
                             codes.data<int8_t>(), codes.pitch(), absmax.data<float>());
  expect_codes(codes, c.at("CA"));
  EXPECT_EQ(first_difference(absmax, c.at("SCA")), -1);
  const Tensor &a = c.at("CA"), &b = c.t.at("CB");
  Tensor acc = new_tensor({a.rows(), b.rows()}, DType::i32);
  on.kernels().matmul_int8(on.stream(), a.rows(), b.rows(), a.cols(), a.data<int8_t>(), a.pitch(),
                           b.data<int8_t>(), b.pitch(), acc.data<int32_t>(), acc.pitch());
  EXPECT_TRUE(same_bytes(acc, c.at("acc")));
}

Tensor int8_product(const Device& on, const Tensor& x, const Weight& w, double threshold,
                    const std::vector<uint8_t>& columns, DType y_dtype) {
  const Tensor y = new_tensor({x.rows(), w.out}, y_dtype);
  const WeightView view = w.view();
  const KernelTable& k = on.kernels();
  const Tensor scratch = new_tensor(
      {std::max<int64_t>(1, k.linear_int8_scratch(on.stream(), x.rows(), view, x.dtype()))},
      DType::u8);
  k.linear_int8(on.stream(), x.rows(), view, x.dtype(), x.raw(), x.pitch(), threshold,
                columns.empty() ? nullptr : columns.data(), y_dtype, y.raw(), y.pitch(),
                scratch.raw());
  return y;
}

// y without its bias against truth(i), relative to the largest.
void expect_result(const Tensor& y, const Tensor& bias, const Tensor& truth, double allowed) {
  double worst = 0;
  for (int64_t i = 0; i < y.numel(); ++i) {
    const double sum = value_at(y, i) + as_double(bias, i % y.cols());
    worst = std::max(worst, std::fabs(sum - as_double(truth, i)));
  }
  EXPECT_LE(worst / largest(truth), allowed) << name_of(y.dtype());
}

// y with its bias in fp64 by the definition of the codes, whole columns of outliers apart.
Tensor int8_truth(const Tensor& x, const Weight& w, double threshold, const Tensor& bias) {
  const Tensor y = new_tensor({x.rows(), w.out}, DType::f64);
  std::vector<uint8_t> apart(static_cast<size_t>(x.cols()));
  if (threshold > 0) apart = columns_beyond(x, threshold);
  for (int64_t i = 0; i < x.rows(); ++i) {
    const auto at = [&](int64_t k) { return value_at(x, i * x.cols() + k); };
    float absmax = 0;
    for (int64_t k = 0; k < x.cols(); ++k) {
      const auto size = static_cast<float>(std::fabs(at(k)));
      if (threshold == 0 || size < threshold) absmax = std::max(absmax, size);
    }
    const float factor = absmax > 0 ? (1 / absmax) * 127 : 0;
    for (int64_t n = 0; n < w.out; ++n) {
      const int8_t* codes = w.codes.data<int8_t>() + n * w.in;
      double sum = 0, beside = 0;
      for (int64_t k = 0; k < x.cols(); ++k) {
        const bool outlier = apart[static_cast<size_t>(k)] != 0;
        if (outlier) beside += at(k) * codes[k];
        if (!outlier) sum += std::nearbyint(static_cast<float>(at(k)) * factor) * codes[k];
      }
      y.data<double>()[i * w.out + n] =
          (sum * (absmax / 127.0) + beside) * (w.scales.data<float>()[n] / 127.0) +
          as_double(bias, n);
    }
  }
  return y;
}

void expect_forward(const Device& on, const Int8Case& c) {
  const Weight w = weight_of(c.t.at("CB"), c.t.at("SCB"));
  const Tensor &x = c.t.at("x"), &bias = c.t.at("bias");
  const auto columns_of = [&](const Tensor& values) {
    return c.bound() > 0 ? columns_beyond(values, c.bound()) : std::vector<uint8_t>{};
  };
  const Tensor& truth = c.at("y_fp64_of_int8_codes");
  const auto columns = columns_of(x);
  expect_result(int8_product(on, x, w, c.bound(), columns, DType::f32), bias, truth, 2e-6);
  expect_result(int8_product(on, x, w, c.bound(), columns, DType::f16), bias, truth, 6e-4);
  expect_result(int8_product(on, cast_to(x, DType::f32), w, c.bound(), columns, DType::f32), bias,
                truth, 2e-6);
  // Of bf16 inputs there is no exact result on file, but what bitsandbytes made of them by way of
  // f16, rounded several times.
  const Tensor half = cast_to(x, DType::bf16);
  const Tensor y = int8_product(on, half, w, c.bound(), columns_of(half), DType::bf16);
  expect_result(y, bias, int8_truth(half, w, c.bound(), bias), 8e-3);
  expect_result(y, bias, c.at("eval.bf16.y"), 2e-2);
}

void expect_backward(const Device& on, const Int8Case& c) {
  const Weight w = weight_of(c.t.at("CB"), c.t.at("SCB"));
  const WeightView view = w.view();
  for (const auto& [t, allowed] :
       {std::pair{DType::f32, 1e-6}, {DType::f16, 6e-4}, {DType::bf16, 5e-3}}) {
    const Tensor dy = cast_to(c.t.at("dy"), t), dx = new_tensor({dy.rows(), w.in}, t);
    Tensor truth = new_tensor(dx.shape(), DType::f64);
    for (int64_t i = 0; i < dx.numel(); ++i) {
      for (int64_t n = 0; n < w.out; ++n) {
        truth.data<double>()[i] += value_at(dy, i / w.in * w.out + n) *
                                   w.codes.data<int8_t>()[n * w.in + i % w.in] *
                                   (w.scales.data<float>()[n] / 127.0);
      }
    }
    if (t == DType::f32) {
      const Tensor& theirs = c.t.at("dx_fp64_dequantized");
      for (int64_t i = 0; i < dx.numel(); ++i) {
        ASSERT_NEAR(truth.data<double>()[i], theirs.data<double>()[i], 1e-9 * largest(theirs));
      }
    }
    const KernelTable& k = on.kernels();
    const Tensor scratch = new_tensor(
        {std::max<int64_t>(1, k.linear_scratch(on.stream(), dy.rows(), view, t))}, DType::u8);
    k.linear_dx(on.stream(), dy.rows(), view, t, dy.raw(), dy.pitch(), t, dx.raw(), dx.pitch(), 1,
                false, scratch.raw());
    expect_result(dx, new_tensor({w.in}, DType::f32), truth, allowed);
  }
}

int expect_folder(const std::string& folder) {
  int cases = 0;
  const nlohmann::json listed = json_of(folder + "/cases.json");
  for (const auto& facts : listed.at("cases")) {
    const auto file = facts.at("file").get<std::string>();
    Int8Case c{read_safetensors(folder + "/" + file + ".safetensors"), ""};
    const Weight mine = quantize(device(), c.t.at("W"), int8_spec(), file);
    SCOPED_TRACE(file);
    expect_codes(mine.codes, c.t.at("CB"));
    EXPECT_EQ(first_difference(mine.scales, c.t.at("SCB")), -1);
    for (const std::string& threshold : thresholds_of(c.t)) {
      c.threshold = threshold;
      for (const Device& on : every_device()) {
        SCOPED_TRACE(cat("threshold ", threshold, " ", name_of(on.tier())));
        expect_activation_codes(on, c);
        expect_forward(on, c);
        expect_backward(on, c);
        ++cases;
      }
    }
  }
  return cases;
}

// "half_way.t6" and the like: {in, codes, row, outlier_cols}.
int expect_edges(const std::string& path) {
  int edges = 0;
  for (auto& [name, t] : groups_of(read_safetensors(path))) {
    const double threshold = std::stod(name.substr(name.rfind(".t") + 2));
    const Tensor& x = t.at("in");
    std::vector<uint8_t> columns;
    if (threshold > 0) columns = columns_beyond(x, threshold);
    for (const Device& on : every_device()) {
      SCOPED_TRACE(cat(name, " ", name_of(on.tier())));
      const Tensor codes = new_tensor(x.shape(), DType::i8);
      const Tensor absmax = new_tensor({x.rows()}, DType::f32);
      on.kernels().quantize_rows(on.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(),
                                 threshold, columns.empty() ? nullptr : columns.data(),
                                 codes.data<int8_t>(), codes.pitch(), absmax.data<float>());
      EXPECT_TRUE(same_bytes(codes, t.at("codes")));
      EXPECT_EQ(first_difference(absmax, t.at("row")), -1);
      ++edges;
    }
  }
  return edges;
}

TEST(Int8Golden, TheVectorsOfTheTreeAreMet) {
  EXPECT_GT(expect_folder(golden_path("quant/int8")), 0);
  EXPECT_GT(expect_edges(golden_path("quant/int8/vectorwise_edges.safetensors")), 0);
}

TEST(Int8Golden, EverySharedVectorIsMet) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/int8");
  EXPECT_GT(expect_folder(folder), 0);
  EXPECT_GT(expect_edges(folder + "/vectorwise_edges.safetensors"), 0);
}

TEST(Int8Golden, LayersThatBitsandbytesSavedHaveTheirValuesAndOurCodes) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/serialization");
  int layers = 0;
  const nlohmann::json listed = json_of(folder + "/layers.json");
  for (const auto& facts : listed.at("layers")) {
    if (!facts.at("keys").contains("SCB")) continue;
    const std::string path = folder + "/" + facts.at("file").get<std::string>();
    SCOPED_TRACE(path);
    Tensors saved = read_safetensors(path + ".safetensors");
    Tensors io = read_safetensors(path + ".io.safetensors");
    const Weight theirs = weight_of(saved.at("weight"), saved.at("SCB"));
    ASSERT_EQ(theirs.out, facts.at("N").get<int64_t>());
    ASSERT_EQ(theirs.in, facts.at("K").get<int64_t>());
    const Weight mine = quantize(device(), io.at("W"), int8_spec(), path);
    expect_codes(mine.codes, theirs.codes);
    EXPECT_EQ(first_difference(mine.scales, theirs.scales), -1);
    const Tensor decoded = dequantize(device(), theirs, DType::f32);
    for (int64_t i = 0; i < decoded.numel(); ++i) {
      const float step = theirs.scales.data<float>()[i / theirs.in] / 127.0f;
      const float value = static_cast<float>(theirs.codes.data<int8_t>()[i]) * step;
      ASSERT_EQ(decoded.data<float>()[i], value) << i;
      const float original = io.at("W").data<float>()[i];  // rounded to f16, then to a code
      ASSERT_NEAR(value, original, step * 0.51 + std::fabs(original) * 0x1p-11) << i;
    }
    ++layers;
  }
  EXPECT_GT(layers, 0);
}

TEST(Int8Golden, ALargeMatrixHasTheHashOfItsCodes) {
  NIBBLE_REQUIRE_DATA(path, "golden/quantization/large/hashes.json");
  const nlohmann::json hashes = json_of(path);
  const auto seed = hashes.at("seed").get<uint64_t>();
  const Tensor w = new_tensor({hashes.at("shape")[0], hashes.at("shape")[1]}, DType::bf16);
  for (int64_t i = 0; i < w.numel(); ++i) {
    const float x = std::ldexp(bell(seed, static_cast<uint64_t>(i)), -5);
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    w.data<uint16_t>()[i] = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  ASSERT_EQ(hash_of(w), hashes.at("input_sha256_bf16_le"));
  const Weight q = quantize(device(), w, int8_spec(), "large");
  EXPECT_EQ(hash_of(q.codes), hashes.at("int8_vectorwise").at("codes_sha256"));
  EXPECT_EQ(hash_of(q.scales), hashes.at("int8_vectorwise").at("row_absmax_sha256"));
}

// bitsandbytes casts activations to f16, where 1e5 is infinite, and answers NaN.
TEST(Int8Golden, ABf16ActivationBeyondF16KeepsItsValue) {
  Tensor ones = new_tensor({2, 4}, DType::f32), x = new_tensor({1, 4}, DType::f32);
  std::fill_n(ones.data<float>(), 8, 1.0f);
  std::fill_n(x.data<float>(), 4, 1.0f);
  x.data<float>()[0] = 1e5f;
  const Weight w = quantize(device(), ones, int8_spec(), "ones");
  for (const Device& on : every_device()) {
    for (const double threshold : {0.0, 6.0}) {
      const Tensor y = int8_product(on, cast_to(x, DType::bf16), w, threshold, {}, DType::f32);
      EXPECT_NEAR(y.data<float>()[1], 1e5, 300);
    }
  }
}

}  // namespace
}  // namespace nibble::testing
