// Weights that bitsandbytes saved after an evaluation on a CPU with AVX512-BF16: their scales went
// through bf16 and, not nested, came back transposed.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/float_types.h"
#include "quant/quant_state.h"
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

Tensors below(const Tensors& all, const std::string& prefix) {
  Tensors some;
  for (const auto& [name, tensor] : all)
    if (starts_with(name, prefix)) some[name.substr(prefix.size())] = tensor;
  return some;
}

TEST(AfterEval, NestedScalesAreReadWithTheirOwnValuesAndMarked) {
  NIBBLE_REQUIRE_DATA(path, "golden/quantization/defects/d05_save_after_eval.safetensors");
  const Tensors all = read_safetensors(path);
  const Tensors before = below(all, "before."), after = below(all, "after.");
  const Weight good = read_quant_state(device(), "", source_of(before), -1, -1);
  const Weight spoilt = read_quant_state(device(), "", source_of(after), -1, -1);
  EXPECT_FALSE(good.stored->after_eval);
  EXPECT_TRUE(spoilt.stored->after_eval);
  const Tensor a = unnest_scales(device(), *good.nested, Purpose::scratch);
  const Tensor b = unnest_scales(device(), *spoilt.nested, Purpose::scratch);
  for (int64_t i = 0; i < a.numel(); ++i)
    EXPECT_NEAR(b.data<float>()[i], a.data<float>()[i], a.data<float>()[i] / 128) << i;
  for (const auto& [name, tensor] : write_quant_state(device(), "", spoilt))
    EXPECT_TRUE(same_bytes(tensor, after.at(name))) << name;
}

// What bitsandbytes 0.50.2 saves after an evaluation: absmax of every block in bf16, (in / block,
// out); the codes stay as they are.
Tensors after_eval(const Weight& w, int64_t rows, int64_t columns) {
  Tensors tensors;
  for (const auto& [name, tensor] : write_quant_state(device(), "", w)) tensors[name] = tensor;
  const Tensor turned = new_tensor({columns, rows}, DType::bf16);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      turned.data<bf16>()[c * rows + r] = narrow<bf16>(w.scales.data<float>()[r * columns + c]);
  tensors["weight.absmax"] = turned;
  return tensors;
}

Weight sample(int64_t rows, int64_t in) {
  const Tensor values = new_tensor({rows, in}, DType::f32);
  for (int64_t i = 0; i < values.numel(); ++i)
    values.data<float>()[i] = std::sin(static_cast<float>(i)) * static_cast<float>(i % 97);
  return quantize(device(), values, {Format::nf4, 64, false}, "w");
}

TEST(AfterEval, TransposedScalesAreTurnedBackToTheirRoundedSelves) {
  const Weight w = sample(64, 128);
  const Weight back = read_quant_state(device(), "", source_of(after_eval(w, 64, 2)), 64, 128);
  EXPECT_TRUE(back.stored->after_eval);
  for (int64_t i = 0; i < w.blocks(); ++i)
    EXPECT_EQ(back.scales.data<float>()[i], widen(narrow<bf16>(w.scales.data<float>()[i]))) << i;
  for (const auto& [name, tensor] : write_quant_state(device(), "", back)) {
    if (name != "weight.absmax") continue;
    EXPECT_EQ(tensor.dtype(), DType::f32);
    EXPECT_EQ(tensor.shape().str(), "(128)");
  }
}

TEST(AfterEval, ScalesInAnyOtherOrderAreRefusedWithTheCure) {
  const Weight w = sample(64, 128);
  Tensors tensors = after_eval(w, 64, 2);
  tensors["weight.absmax"] = new_tensor({64, 2}, DType::bf16);
  try {
    read_quant_state(device(), "", source_of(tensors), 64, 128);
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("weight.absmax: its shape is (64, 2), not (128)"),
              std::string::npos)
        << e.what();
    EXPECT_NE(e.hint().find("before any evaluation"), std::string::npos);
  }
}

}  // namespace
}  // namespace nibble::testing
