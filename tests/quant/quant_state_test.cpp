// 4-bit layers as bitsandbytes saved them: read to the same values, written to the same bytes, and
// refused by name when something does not fit.
#include "quant/quant_state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "quant/blockwise.h"
#include "tests/quant/goldens.h"

namespace nibble::testing {
namespace {

TensorSource source_of(const Tensors& tensors) {
  TensorSource source;
  source.file = "model.safetensors";
  for (const auto& entry : tensors) source.names.push_back(entry.first);
  source.tensor = [&tensors](std::string_view name) { return tensors.at(std::string(name)); };
  return source;
}

std::string text_of(const Tensor& t) {
  return std::string(t.data<char>(), static_cast<size_t>(t.numel()));
}

// Every tensor of the weight comes back: name, dtype, shape, bytes.
void expect_round_trip(const Tensors& tensors, const std::string& prefix) {
  const Weight w = read_quant_state(device(), prefix, source_of(tensors), -1, -1);
  const Tensor& packed = tensors.at(prefix + "weight");
  ASSERT_TRUE(w.stored);
  EXPECT_EQ(w.stored->storage, packed.dtype());
  const NamedTensors written = write_quant_state(device(), prefix, w);
  size_t expected = 0;
  for (const auto& entry : tensors) {
    expected += starts_with(entry.first, prefix + "weight");
  }
  EXPECT_EQ(written.size(), expected);
  for (const auto& [name, tensor] : written) {
    ASSERT_EQ(tensors.count(name), 1u) << name;
    const Tensor& golden = tensors.at(name);
    EXPECT_EQ(tensor.dtype(), golden.dtype()) << name;
    EXPECT_EQ(tensor.shape().str(), golden.shape().str()) << name;
    EXPECT_TRUE(same_bytes(tensor, golden)) << name << ": " << text_of(tensor);
  }
}

void expect_layer(const std::string& path) {
  SCOPED_TRACE(path);
  const Tensors layer = read_safetensors(path);
  Tensors io = read_safetensors(path.substr(0, path.size() - 12) + ".io.safetensors");
  std::vector<std::string> names;
  for (const auto& entry : layer) names.push_back(entry.first);
  EXPECT_TRUE(has_quant_state("", names));
  EXPECT_FALSE(has_quant_state("x.", names));
  const Tensor& W = io.at("W");
  const Weight w = read_quant_state(device(), "", source_of(layer), W.dim(0), W.dim(1));
  EXPECT_EQ(w.value_dtype, W.dtype());
  EXPECT_EQ(first_difference(dequantize(device(), w, W.dtype()), io.at("W_deq")), -1);
  if (panel_fits(w)) {
    const Weight panel = to_panel(device(), w);
    EXPECT_EQ(first_difference(dequantize(device(), panel, W.dtype()), io.at("W_deq")), -1);
  }
  expect_round_trip(layer, "");
}

TEST(QuantState, LayersOfTheTreeDecodeExactlyAndRoundTripByteForByte) {
  int layers = 0;
  for (const std::string& path : vectors_in(golden_path("quant/serialization"))) {
    if (!starts_with(stem(path), "linear4bit") || ends_with(stem(path), ".io")) continue;
    expect_layer(path);
    ++layers;
  }
  EXPECT_GE(layers, 3);
}

TEST(QuantState, AllSharedLayersDecodeExactlyAndRoundTripByteForByte) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/serialization");
  const Json list = read_json(folder + "/layers.json").at("layers");
  int layers = 0;
  for (const Json& layer : list) {
    if (!layer.contains("quant_state_json")) continue;  // 8-bit: int8_state_test.cpp
    const std::string path = cat(folder, "/", layer.at("file").get<std::string>(), ".safetensors");
    expect_layer(path);
    const Tensors tensors = read_safetensors(path);
    const Weight w =
        read_quant_state(device(), "", source_of(tensors), layer.at("N"), layer.at("K"));
    EXPECT_EQ(w.block, layer.at("blocksize").get<int64_t>());
    ASSERT_TRUE(w.stored);
    EXPECT_EQ(w.stored->json, layer.at("quant_state_json").get<std::string>());
    Weight made = w;  // as a weight that no file gave
    made.stored = nullptr;
    for (const auto& [name, tensor] : write_quant_state(device(), "", made)) {
      if (starts_with(name, "weight.quant_state")) {
        EXPECT_EQ(text_of(tensor), w.stored->json);
      }
    }
    ++layers;
  }
  EXPECT_GT(layers, 0);
}

TEST(QuantState, AModelWrittenByTransformersRoundTripsByteForByte) {
  NIBBLE_REQUIRE_DATA(path, "golden/quantization/serialization/tiny_nf4_dq/model.safetensors");
  NIBBLE_REQUIRE_DATA(dense_path, "golden/quantization/serialization/tiny_dense/model.safetensors");
  const Tensors tensors = read_safetensors(path);
  Tensors dense = read_safetensors(dense_path);
  int layers = 0;
  for (const auto& entry : tensors) {
    if (!ends_with(entry.first, ".absmax")) continue;
    const std::string weight = entry.first.substr(0, entry.first.size() - 7);
    SCOPED_TRACE(weight);
    expect_round_trip(tensors, weight.substr(0, weight.size() - 6));
    const Weight mine = quantize(device(), dense.at(weight), {}, weight);
    EXPECT_TRUE(same_bytes(mine.codes, flat(tensors.at(weight))));
    ++layers;
  }
  EXPECT_GT(layers, 0);
}

TEST(QuantState, TheSameBytesUnderAnyStorageDtypeAreTheSameWeight) {
  const Tensor values = new_tensor({4, 64}, DType::f32);
  for (int i = 0; i < 256; ++i) values.data<float>()[i] = std::sin(static_cast<float>(i));
  const Weight w = quantize(device(), values, {}, "w");
  for (DType storage : {DType::u8, DType::bf16, DType::f16, DType::f32}) {
    Tensors tensors;
    for (const auto& [name, tensor] : write_quant_state(device(), "a.", w, storage)) {
      tensors[name] = tensor;
    }
    EXPECT_EQ(tensors.at("a.weight").dtype(), storage);
    const Weight back = read_quant_state(device(), "a.", source_of(tensors), 4, 64);
    EXPECT_TRUE(same_bytes(w.codes, back.codes));
  }
}

TEST(QuantState, HalfScalesAreWidenedAndWrittenBackAsTheyWere) {
  Tensor values = new_tensor({1, 64}, DType::f32);
  for (int i = 0; i < 64; ++i) values.data<float>()[i] = static_cast<float>(i) / 16;
  const Weight w = quantize(device(), values, {Format::fp4, 64, false}, "w");
  Tensors tensors;
  for (const auto& [name, tensor] : write_quant_state(device(), "", w)) tensors[name] = tensor;
  Tensor half = new_tensor({1}, DType::bf16);
  half.data<uint16_t>()[0] = 0x407C;  // 3.9375, the absmax
  tensors["weight.absmax"] = half;
  const Weight back = read_quant_state(device(), "", source_of(tensors), 1, 64);
  EXPECT_EQ(back.scales.data<float>()[0], 3.9375f);
  for (const auto& [name, tensor] : write_quant_state(device(), "", back)) {
    EXPECT_TRUE(same_bytes(tensor, tensors.at(name))) << name;
  }
}

TEST(QuantState, ScalesAtOddAddressesAreCopied) {
  const Weight w =
      quantize(device(), new_tensor({1, 128}, DType::f32), {Format::nf4, 64, false}, "w");
  Tensors tensors;
  for (const auto& [name, tensor] : write_quant_state(device(), "", w)) tensors[name] = tensor;
  const Tensor bytes = new_tensor({16}, DType::u8);
  const float scales[2] = {1.5f, 2.5f};
  std::memcpy(bytes.data<char>() + 1, scales, 8);
  tensors["weight.absmax"] = Tensor::wrap(bytes.data<char>() + 1, {2}, DType::f32, bytes.keep());
  const Weight back = read_quant_state(device(), "", source_of(tensors), 1, 128);
  EXPECT_EQ(back.scales.data<float>()[0], 1.5f);
  EXPECT_EQ(back.scales.data<float>()[1], 2.5f);
}

// A good nested weight "m.weight" (4, 96) to be spoilt.
Tensors good(bool nested = true) {
  Tensor values = new_tensor({4, 96}, DType::bf16);
  for (int i = 0; i < 4 * 96; ++i) {
    values.data<uint16_t>()[i] = static_cast<uint16_t>(0x3C00 + 37 * i % 900);
  }
  const Weight w = quantize(device(), values, {Format::nf4, 64, nested}, "w");
  Tensors tensors;
  for (const auto& [name, tensor] : write_quant_state(device(), "m.", w)) {
    tensors[name] = copy_of(tensor);
  }
  return tensors;
}

const char* const kState = "m.weight.quant_state.bitsandbytes__nf4";

Tensor tensor_of(const std::string& text) {
  Tensor t = new_tensor({static_cast<int64_t>(text.size())}, DType::u8);
  std::memcpy(t.raw(), text.data(), text.size());
  return t;
}

Tensors with_json(Tensors tensors, const std::string& from, const std::string& to) {
  std::string json = text_of(tensors.at(kState));
  const size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from << " is not in " << json;
  json.replace(at, from.size(), to);
  tensors[kState] = tensor_of(json);
  return tensors;
}

// Refused with exit 65 and all of `parts` in the message.
void expect_refused(const Tensors& tensors, const std::vector<std::string>& parts, int64_t out = 4,
                    int64_t in = 96) {
  try {
    read_quant_state(device(), "m.", source_of(tensors), out, in);
    ADD_FAILURE() << "taken, should say " << parts.front();
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), Exit::bad_data);
    const std::string what = error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(what.find(part), std::string::npos) << "no \"" << part << "\" in: " << what;
    }
    EXPECT_NE(what.find("model.safetensors"), std::string::npos) << what;
  }
}

TEST(QuantState, MissingAndUnknownTensorsAreRefusedByName) {
  for (const char* key : {"m.weight.absmax", "m.weight.quant_map", "m.weight.nested_absmax",
                          "m.weight.nested_quant_map", "m.weight", kState}) {
    Tensors tensors = good();
    tensors.erase(key);
    expect_refused(tensors, {std::string(key) + ": ", "missing"});
  }
  Tensors extra = good();
  extra["m.weight.zero_points"] = new_tensor({6}, DType::f32);
  expect_refused(extra, {"m.weight.zero_points", "unknown"});
  Tensors twice = good();
  twice["m.weight.quant_state.bitsandbytes__fp4"] = twice.at(kState);
  expect_refused(twice, {"bitsandbytes__fp4", "bitsandbytes__nf4"});
  Tensors half_nested = good(false);
  half_nested["m.weight.nested_absmax"] = new_tensor({1}, DType::f32);
  expect_refused(half_nested, {"m.weight.nested_absmax", "not nested"});
}

TEST(QuantState, ShapesThatDisagreeWithTheConfigNameBoth) {
  expect_refused(good(), {kState, "(4, 96)", "(96, 4)"}, 96, 4);
  expect_refused(good(), {kState, "(4, 96)", "(5, 96)"}, 5, 96);
}

TEST(QuantState, TensorsOfTheWrongSizeNameBothSizes) {
  Tensors tensors = good();
  tensors["m.weight"] = tensors.at("m.weight").row_range(0, 190);
  expect_refused(tensors, {"m.weight: ", "190", "192"});
  for (const char* key : {"absmax", "nested_absmax", "nested_quant_map", "quant_map"}) {
    const std::string name = cat("m.weight.", key);
    tensors = good();
    const Tensor whole = tensors.at(name);
    tensors[name] = new_tensor({whole.numel() + 1}, whole.dtype());
    expect_refused(tensors, {name + ": ", cat(whole.numel()), cat(whole.numel() + 1)});
  }
}

TEST(QuantState, TensorsOfTheWrongDtypeNameBothDtypes) {
  for (const char* key : {"absmax", "nested_absmax", "nested_quant_map", "quant_map"}) {
    const std::string name = cat("m.weight.", key);
    Tensors tensors = good();
    const Tensor whole = tensors.at(name);
    tensors[name] = new_tensor(whole.shape(), DType::i32);
    expect_refused(tensors, {name + ": ", "i32", name_of(whole.dtype())});
  }
  Tensors plain = good(false);
  plain["m.weight.absmax"] = new_tensor({6}, DType::u8);
  expect_refused(plain, {"m.weight.absmax", "u8", "f32"});
}

TEST(QuantState, JsonThatSaysAnythingElseIsRefusedWithTheValue) {
  const std::vector<std::pair<std::string, std::string>> spoilt = {
      {"\"blocksize\": 64", "\"blocksize\": 48"},
      {"\"blocksize\": 64", "\"blocksize\": \"64\""},
      {"\"bfloat16\"", "\"float8\""},
      {"[4, 96]", "[4, 96, 1]"},
      {"[4, 96]", "[-4, 96]"},
      {"[4, 96]", "[4294967296, 4294967296]"},
      {"\"nested_blocksize\": 256", "\"nested_blocksize\": 100"},
      {"\"nested_dtype\": \"float32\"", "\"nested_dtype\": \"float64\""},
      {"{\"quant_type\": \"nf4\"", "{\"quant_type\": \"fp4\""},
      {"{", "{\"zero_point\": 7, "},
  };
  for (const auto& [from, to] : spoilt) {
    std::string value = to.substr(to.find_last_of(' ') + 1);
    if (to[0] == '[') value = to.substr(1, to.find(',') - 1);
    if (to[0] == '{') value = to.find("zero_point") != std::string::npos ? "zero_point" : "fp4";
    expect_refused(with_json(good(), from, to), {kState, value});
  }
  expect_refused(with_json(good(), "\"nested_offset\": ", "\"nested_offset\": 1e39, \"x\": "),
                 {kState, "nested_offset"});
  expect_refused(with_json(good(), "\"blocksize\": 64, ", ""), {kState, "blocksize", "missing"});
  expect_refused(with_json(good(), "\"nested_dtype\": \"float32\", ", ""),
                 {kState, "nested_dtype", "missing"});
  expect_refused(with_json(good(), "}", ""), {kState});
  for (const char* word : {"NaN", "-Infinity"}) {
    expect_refused(with_json(good(), "\"nested_offset\": ", cat("\"nested_offset\": ", word, "0")),
                   {kState, "nested_offset is ", word, "nibble quantize"});
  }
}

TEST(QuantState, AnotherValueTableIsRefused) {
  Tensors tensors = good();
  tensors.at("m.weight.quant_map").data<float>()[3] = -0.39f;
  expect_refused(tensors, {"m.weight.quant_map", "entry 3", "-0.39", "-0.3949"});
}

TEST(QuantState, ScalesThatAreNotFiniteAreRefused) {
  Tensors tensors = good();
  tensors.at("m.weight.nested_absmax").data<float>()[0] = NAN;
  expect_refused(tensors, {"m.weight.nested_absmax", "NaN"});
  tensors = good(false);
  tensors.at("m.weight.absmax").data<float>()[5] = INFINITY;
  expect_refused(tensors, {"m.weight.absmax", "entry 5"});
}

}  // namespace
}  // namespace nibble::testing
