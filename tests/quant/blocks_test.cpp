// Blocks of GGUF files: decoded and encoded as gguf-py does, bit for bit, on every tier, and in the
// products forward and backward.
#include <gtest/gtest.h>

#include <cstring>

#include "quant/weight.h"
#include "tests/support/data.h"
#include "tests/support/safetensors_lite.h"

namespace nibble::testing {
namespace {

const char* const kTypes[] = {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"};
const char* const kEncoded[] = {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1"};

std::map<std::string, Tensor> vectors() {
  return read_safetensors(golden_path("quant/gguf_blocks/gguf_blocks.safetensors"));
}

std::vector<CpuTier> tiers() {
  std::vector<CpuTier> all{CpuTier::scalar};
  const CpuFeatures& f = cpu_features();
  if (f.avx2 && f.fma && f.f16c && f.bmi2) all.push_back(CpuTier::avx2);
  if (all.size() == 2 && f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq)
    all.push_back(CpuTier::avx512);
  return all;
}

// `blocks` repeated so that rows are longer than what a product decodes at a time.
Tensor repeated(Memory& memory, const Tensor& x, int64_t times) {
  const int64_t width = x.cols() * size_of(x.dtype());
  Tensor out = Tensor::empty(memory, {x.rows(), x.cols() * times}, x.dtype(), Purpose::weights);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t i = 0; i < times; ++i)
      std::memcpy(out.data<char>() + (r * times + i) * width, x.data<char>() + r * width,
                  static_cast<size_t>(width));
  return out;
}

TEST(Blocks, DecodeToTheReferenceValuesBitForBitOnEveryTier) {
  const auto golden = vectors();
  for (const CpuTier tier : tiers()) {
    const Device device = Device::cpu(1, tier);
    for (const std::string type : kTypes) {
      for (const int64_t times : {1, 5}) {
        const Tensor blocks = repeated(device.memory(), golden.at("blocks." + type), times);
        const Tensor want = repeated(device.memory(), golden.at("values." + type), times);
        const Weight w = block_weight(*format_named(type), blocks, want.cols());
        const Tensor f32 = dequantize(device, w, DType::f32);
        EXPECT_EQ(std::memcmp(f32.raw(), want.raw(), static_cast<size_t>(want.bytes())), 0)
            << type << " on " << name_of(tier);
        const Tensor bf16 = dequantize(device, w, DType::bf16);
        Tensor rounded =
            Tensor::empty(device.memory(), want.shape(), DType::bf16, Purpose::scratch);
        device.kernels().cast(device.stream(), want.rows(), want.cols(), DType::f32, want.raw(),
                              want.pitch(), DType::bf16, rounded.raw(), rounded.pitch());
        EXPECT_EQ(std::memcmp(bf16.raw(), rounded.raw(), static_cast<size_t>(bf16.bytes())), 0)
            << type << " to bf16 on " << name_of(tier);
      }
    }
  }
}

TEST(Blocks, WindowsOfARowHoldTheSameValues) {
  const auto golden = vectors();
  for (const CpuTier tier : tiers()) {
    const Device device = Device::cpu(1, tier);
    for (const std::string type : kTypes) {
      const Tensor& want = golden.at("values." + type);
      const Weight w = block_weight(*format_named(type), golden.at("blocks." + type), want.cols());
      for (const int64_t k0 : {0, 7, 16, 33, 64}) {
        for (const int64_t k1 : {k0 + 1, k0 + 23, want.cols()}) {
          std::vector<float> out(static_cast<size_t>(2 * (k1 - k0) + 4), 42.0f);
          device.kernels().decode_tile(w.view(), 1, 3, k0, k1, DType::f32, out.data(), k1 - k0 + 2);
          for (int64_t k = k0; k < k1; ++k)
            for (int64_t n = 1; n < 3; ++n)
              ASSERT_EQ(out[static_cast<size_t>((n - 1) * (k1 - k0 + 2) + k - k0)],
                        want.data<float>()[n * want.cols() + k])
                  << type << " " << n << "," << k;
          EXPECT_EQ(out[static_cast<size_t>(k1 - k0)], 42.0f) << "written beyond the window";
        }
      }
    }
  }
}

// What a product of the blocks gives is what one of their values gives, bit for bit.
TEST(Blocks, ProductsEqualThoseOfTheDecodedValues) {
  const auto golden = vectors();
  for (const CpuTier tier : tiers()) {
    const Device device = Device::cpu(1, tier);
    Memory& memory = device.memory();
    for (const std::string type : kTypes) {
      const Tensor blocks = repeated(memory, golden.at("blocks." + type), 7);
      const Tensor values = repeated(memory, golden.at("values." + type), 7);
      const Weight coded = block_weight(*format_named(type), blocks, values.cols());
      const Weight dense = dense_weight(values);
      for (const int64_t m : {1, 3, 40}) {
        for (const bool backward : {false, true}) {
          const int64_t from = backward ? coded.out : coded.in,
                        to = backward ? coded.in : coded.out;
          Tensor x = Tensor::empty(memory, {m, from}, DType::f32, Purpose::scratch);
          for (int64_t i = 0; i < x.numel(); ++i)
            x.data<float>()[i] = static_cast<float>(random_normal(RngKey{3, 1, 0, 0}, i));
          Tensor y[2];
          for (const Weight* w : {&coded, &dense}) {
            Tensor& out = y[w == &dense];
            out = Tensor::zeros(memory, {m, to}, DType::f32, Purpose::scratch);
            const WeightView v = w->view();
            const auto& k = device.kernels();
            Tensor scratch =
                Tensor::empty(memory, {k.linear_scratch(device.stream(), m, v, DType::f32) + 1},
                              DType::u8, Purpose::scratch);
            auto product = backward ? k.linear_dx : k.linear_fwd;
            product(device.stream(), m, v, DType::f32, x.raw(), x.pitch(), DType::f32, out.raw(),
                    out.pitch(), 1, false, scratch.raw());
          }
          ASSERT_EQ(std::memcmp(y[0].raw(), y[1].raw(), static_cast<size_t>(y[0].bytes())), 0)
              << type << " m=" << m << (backward ? " dx" : " forward") << " on " << name_of(tier);
        }
      }
    }
  }
}

void expect_encoded(const std::map<std::string, Tensor>& golden, const std::string& type) {
  const Device device = Device::cpu(1);
  QuantSpec spec;
  spec.format = *format_named(type);
  const Weight w = quantize(device, golden.at("x"), spec, "x");
  const Tensor& want = golden.at("encoded." + type);
  ASSERT_EQ(w.codes.bytes(), want.bytes()) << type;
  for (int64_t i = 0; i < want.bytes(); ++i)
    ASSERT_EQ(w.codes.data<uint8_t>()[i], want.data<uint8_t>()[i])
        << type << " row " << i / want.cols() << " byte " << i % want.cols();
}

TEST(Blocks, EncodeToTheReferenceBytes) {
  for (const char* type : kEncoded) expect_encoded(vectors(), type);
}

TEST(Blocks, OfTwoHundredFiftySixEncodeToTheReferenceBytes) {
  const auto golden = read_safetensors(golden_path("quant/gguf_blocks/k_blocks.safetensors"));
  for (const char* type : {"q4_k", "q5_k", "q6_k"}) expect_encoded(golden, type);
}

TEST(Blocks, WhatNoBlockCanHoldIsRefusedByName) {
  const Device device = Device::cpu(1);
  QuantSpec spec;
  spec.format = Format::q8_0;
  Tensor narrow = Tensor::zeros(device.memory(), {2, 48}, DType::f32, Purpose::scratch);
  EXPECT_THROW(quantize(device, narrow, spec, "w"), UserError) << "rows of no whole blocks";
  Tensor large = Tensor::zeros(device.memory(), {2, 64}, DType::f32, Purpose::scratch);
  large.data<float>()[70] = 1e8f;
  try {
    quantize(device, large, spec, "blk.0.ffn_up.weight");
    ADD_FAILURE() << "a scale beyond f16";
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("blk.0.ffn_up.weight"), std::string::npos);
    EXPECT_EQ(e.code(), Exit::bad_data);
  }
}

}  // namespace
}  // namespace nibble::testing
