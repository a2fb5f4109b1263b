// 8-bit layers as bitsandbytes saved them: read to the same values, written to the same bytes, and
// refused by name when something does not fit.
#include "quant/int8_state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/json.h"
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

TEST(Int8State, SharedLayersDecodeAndRoundTripByteForByte) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/serialization");
  int layers = 0;
  const Json list = read_json(folder + "/layers.json").at("layers");
  for (const Json& layer : list) {
    if (layer.contains("quant_state_json")) continue;
    const std::string path = cat(folder, "/", layer.at("file").get<std::string>(), ".safetensors");
    SCOPED_TRACE(path);
    const Tensors tensors = read_safetensors(path);
    const Weight w =
        read_int8_state(device(), "", source_of(tensors), layer.at("N"), layer.at("K"), 6.0);
    EXPECT_EQ(w.outlier_threshold, 6.0);
    const Tensor back = dequantize(device(), w, DType::f32);
    const auto* codes = tensors.at("weight").data<int8_t>();
    const auto* scale = tensors.at("SCB").data<float>();
    for (int64_t i = 0; i < back.numel(); ++i) {
      const double want = double{scale[i / w.in]} / 127 * codes[i];
      EXPECT_NEAR(back.data<float>()[i], want, std::fabs(want) * 2e-7) << i;
    }
    const NamedTensors written = write_int8_state(device(), "", w);
    EXPECT_EQ(written.size(), tensors.size() - tensors.count("bias"));
    for (const auto& [name, tensor] : written) {
      const Tensor& golden = tensors.at(name);
      EXPECT_EQ(tensor.dtype(), golden.dtype()) << name;
      EXPECT_EQ(tensor.shape().str(), golden.shape().str()) << name;
      EXPECT_TRUE(same_bytes(tensor, golden)) << name;
    }
    ++layers;
  }
  EXPECT_GT(layers, 0);
}

Tensors good() {
  Tensors tensors;
  tensors["m.weight"] = new_tensor({2, 3}, DType::i8);
  tensors["m.SCB"] = new_tensor({2}, DType::f32);
  tensors["m.weight_format"] = new_tensor(Shape{}, DType::u8);
  return tensors;
}

void expect_refused(const Tensors& tensors, const std::vector<std::string>& parts) {
  try {
    read_int8_state(device(), "m.", source_of(tensors), 2, 3, {});
    ADD_FAILURE() << "taken, should say " << parts.front();
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), Exit::bad_data);
    EXPECT_FALSE(error.hint().empty());
    const std::string what = cat(error.what(), error.hint());
    for (const std::string& part : parts) {
      EXPECT_NE(what.find(part), std::string::npos) << "no \"" << part << "\" in: " << what;
    }
  }
}

TEST(Int8State, WhatIsMissingOrDoesNotFitIsRefusedByName) {
  Tensors t = good();
  t.erase("m.SCB");
  expect_refused(t, {"m.SCB", "missing", "nibble quantize --type int8"});
  t = good();
  t["m.SCB"] = new_tensor({3}, DType::f32);
  expect_refused(t, {"m.SCB", "3 entries", "needs 2"});
  t = good();
  t["m.SCB"] = new_tensor({2}, DType::bf16);
  expect_refused(t, {"m.SCB", "bf16", "f32"});
  t = good();
  t["m.SCB"].data<float>()[1] = NAN;
  expect_refused(t, {"m.SCB", "entry 1", "NaN"});
  t = good();
  t["m.SCB"].data<float>()[1] = -2;
  expect_refused(t, {"m.SCB", "entry 1", "-2"});
  t = good();
  t["m.weight"] = new_tensor({3, 2}, DType::i8);
  expect_refused(t, {"m.weight", "(3, 2)", "(2, 3)"});
  t = good();
  *t["m.weight_format"].data<uint8_t>() = 2;
  expect_refused(t, {"m.weight_format", "col_turing"});
}

TEST(Int8State, AnOldFileWithoutItsOrderIsWrittenBackWithoutIt) {
  Tensors t = good();
  t.erase("m.weight_format");
  const Weight w = read_int8_state(device(), "m.", source_of(t), 2, 3, {});
  EXPECT_EQ(write_int8_state(device(), "m.", w).size(), 2U);
  EXPECT_FALSE(w.outlier_threshold);
}

}  // namespace
}  // namespace nibble::testing
