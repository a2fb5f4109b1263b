// What the bench writes is what the library makes.
#include "cli/codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "cli/machine_peak.h"
#include "quant/blockwise.h"
#include "quant/weight.h"

namespace nibble {
namespace {

bool same(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() &&
         std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0;
}

Tensor weights(const Device& device) {
  Tensor w = Tensor::empty(device.memory(), {40, 192}, DType::f32, Purpose::weights);
  for (int64_t i = 0; i < w.numel(); ++i) w.data<float>()[i] = std::sin(static_cast<float>(i * i));
  return w;
}

TEST(Codec, PartsAndValuesAreThoseOfTheLibrary) {
  const Device device = Device::cpu(2);
  const Tensor w = weights(device);
  for (const std::string type : {"nf4", "fp4"}) {
    for (const bool nested : {false, true}) {
      const auto codec = make_codec(device, {type, 128, nested});
      codec->encode(w);
      const Tensor out = Tensor::empty(device.memory(), w.shape(), DType::bf16, Purpose::weights);
      codec->decode(out);
      const Weight q = quantize(device, w, {*format_named(type), 128, nested}, "w");
      EXPECT_TRUE(same(out, dequantize(device, q, DType::bf16)));
      EXPECT_EQ(codec->bytes(), q.bytes());
      std::map<std::string, Tensor> parts;
      for (const auto& [name, tensor] : codec->parts()) parts.emplace(name, tensor);
      EXPECT_TRUE(same(parts.at("codes"), q.codes));
      EXPECT_TRUE(same(parts.at("absmax"), nested ? q.nested->codes : q.scales));
      if (nested) {
        EXPECT_EQ(parts.at("offset").data<float>()[0], q.nested->offset);
      }
    }
  }
}

TEST(Codec, BlockwiseCodesAreThoseOfTheLibrary) {
  const Device device = Device::cpu(1);
  const Tensor w = weights(device);
  const auto codec = make_codec(device, {"dynamic8", 0, false});
  codec->encode(w);
  const Blockwise q = quantize_blockwise(device, w, dynamic_signed_map(), usual_block("dynamic8"),
                                         Purpose::weights);
  EXPECT_TRUE(same(codec->parts().at(0).second, q.codes));
  EXPECT_TRUE(same(codec->parts().at(1).second, q.absmax));
}

TEST(Codec, EverythingMeasuredTakesTime) {
  const Device device = Device::cpu(1);
  const Tensor w = weights(device);
  const Tensor out = Tensor::empty(device.memory(), w.shape(), w.dtype(), Purpose::weights);
  for (const std::string& type : codec_types()) {
    const auto codec = make_codec(device, {type, 0, false});
    const CodecSpeed speed = measure_codec(device, *codec, w, out, 3);
    for (const auto& s : {speed.encode, speed.decode, speed.copy}) {
      EXPECT_GT(s.best, 0) << type;
      EXPECT_GE(s.median, s.best) << type;
    }
  }
}

TEST(MachinePeak, WiderRegistersMultiplyMore) {
  const CpuFeatures& f = cpu_features();
  if (!f.avx2 || !f.fma || !f.f16c || !f.bmi2) GTEST_SKIP() << "skipped: no AVX2 here";
  const double narrow = measure_fma(Device::cpu(1, CpuTier::scalar));
  EXPECT_GT(measure_fma(Device::cpu(1, CpuTier::avx2)), narrow);
  EXPECT_GT(measure_copy(Device::cpu(1), 1 << 20), 1e8);
}

}  // namespace
}  // namespace nibble
