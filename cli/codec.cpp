#include "cli/codec.h"

#include <algorithm>
#include <cstring>

#include "base/errors.h"
#include "cli/machine_peak.h"
#include "quant/blockwise.h"
#include "quant/weight.h"

namespace nibble {
namespace {

class WeightCodec : public Codec {
 public:
  WeightCodec(const Device& device, const QuantSpec& spec) : on_(device), spec_(spec) {}
  void encode(const Tensor& w) override { coded_ = quantize(on_, w, spec_, "bench"); }
  void decode(const Tensor& out) const override { dequantize_into(on_, coded_, out); }
  int64_t bytes() const override { return coded_.bytes(); }
  NamedTensors parts() const override {
    NamedTensors all{{"codes", coded_.codes}};
    if (!coded_.nested) {
      all.emplace_back("absmax", coded_.scales);
      return all;
    }
    all.emplace_back("absmax", coded_.nested->codes);
    all.emplace_back("nested_absmax", coded_.nested->absmax2);
    offset_ = coded_.nested->offset;
    all.emplace_back("offset", Tensor::wrap(&offset_, {1}, DType::f32));
    return all;
  }

 private:
  Backend on_;
  QuantSpec spec_;
  Weight coded_;
  mutable float offset_ = 0;  // where the part `offset` lies
};

class BlockwiseCodec : public Codec {
 public:
  BlockwiseCodec(const Device& device, int64_t block) : on_(device), block_(block) {}
  void encode(const Tensor& w) override {
    coded_ = quantize_blockwise(on_, w, dynamic_signed_map(), block_, Purpose::weights);
  }
  void decode(const Tensor& out) const override {
    on_.k.dequantize_8bit(on_.stream, out.numel(), coded_.codes.data<uint8_t>(), block_,
                          dynamic_signed_map(), coded_.absmax.data<float>(), out.dtype(),
                          out.raw());
  }
  int64_t bytes() const override { return coded_.codes.bytes() + coded_.absmax.bytes(); }
  NamedTensors parts() const override {
    return {{"codes", coded_.codes}, {"absmax", coded_.absmax}};
  }

 private:
  Backend on_;
  int64_t block_;
  Blockwise coded_;
};

const char* const kDynamic = "dynamic8";

CodecSpeed::Seconds summary(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return {seconds[0], (seconds[(seconds.size() - 1) / 2] + seconds[seconds.size() / 2]) / 2};
}

void copy(const Device& device, const Tensor& from, const Tensor& to) {
  device.stream().pool().parallel_for(to.bytes(), 65536, [&](int64_t begin, int64_t end) {
    std::memcpy(to.data<char>() + begin, from.data<char>() + begin,
                static_cast<size_t>(end - begin));
  });
}

}  // namespace

std::vector<std::string> codec_types() {
  std::vector<std::string> types{"nf4", "fp4"};
  if (format_named("int8")) types.emplace_back("int8");
  types.emplace_back(kDynamic);
  return types;
}

int64_t usual_block(const std::string& type) { return type == kDynamic ? 256 : 64; }

std::unique_ptr<Codec> make_codec(const Device& device, const CodecSpec& spec) {
  const int64_t block = spec.block > 0 ? spec.block : usual_block(spec.type);
  if (spec.type == kDynamic) return std::make_unique<BlockwiseCodec>(device, block);
  const auto format = format_named(spec.type);
  check(format.has_value(), cat("make_codec: ", spec.type));
  return std::make_unique<WeightCodec>(device, QuantSpec{*format, block, spec.double_quant});
}

CodecSpeed measure_codec(const Device& device, Codec& codec, const Tensor& w, const Tensor& out,
                         int64_t rounds) {
  // Short ones are repeated: one moment of quiet is enough for the best.
  const int64_t times = std::max<int64_t>(1, (int64_t{4} << 20) / std::max<int64_t>(1, w.bytes()));
  std::vector<double> encode, decode, copied;
  const auto measure = [&](std::vector<double>& seconds, const auto& work) {
    work();  // caches and pages
    for (int64_t i = 0; i < times; ++i) {
      const double begin = clock_seconds();
      work();
      seconds.push_back(clock_seconds() - begin);
    }
  };
  for (int64_t round = 0; round < rounds; ++round) {
    measure(encode, [&] { codec.encode(w); });
    measure(decode, [&] { codec.decode(out); });
    measure(copied, [&] { copy(device, w, out); });
  }
  codec.decode(out);
  return {summary(encode), summary(decode), summary(copied)};
}

}  // namespace nibble
