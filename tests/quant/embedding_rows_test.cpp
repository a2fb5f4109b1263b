// Rows looked up in a coded table are the rows of the decoded matrix, whatever its format and
// order.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/quant/goldens.h"

namespace nibble::testing {
namespace {

TEST(EmbeddingRows, AreTheRowsOfTheDecodedMatrix) {
  const Tensor values = new_tensor({37, 320}, DType::f32);
  for (int64_t i = 0; i < values.numel(); ++i)
    values.data<float>()[i] = std::sin(static_cast<float>(i)) * static_cast<float>(1 + i % 61);
  std::vector<Weight> weights;
  for (const Format format : {Format::nf4, Format::fp4, Format::int8, Format::q8_0, Format::f16}) {
    QuantSpec spec;
    spec.format = format;
    weights.push_back(quantize(device(), values, spec, "w"));
    if (panel_fits(weights.back())) weights.push_back(to_panel(device(), weights.back()));
  }
  const std::vector<int32_t> ids{36, 0, 5, 5, 17};
  for (const Weight& w : weights) {
    for (const DType to : {DType::f32, DType::bf16}) {
      const Tensor all = dequantize(device(), w, to);
      const Tensor rows = new_tensor({static_cast<int64_t>(ids.size()), 320}, to);
      const Backend on(device());
      on.k.embedding_rows(on.stream, rows.rows(), w.view(), ids.data(), to, rows.raw(),
                          rows.pitch());
      on.stream.wait();
      for (size_t t = 0; t < ids.size(); ++t)
        EXPECT_TRUE(same_bytes(rows.row_range(static_cast<int64_t>(t), static_cast<int64_t>(t) + 1),
                               all.row_range(ids[t], ids[t] + 1)))
            << name_of(w.format) << " " << name_of(to) << " token " << t;
    }
  }
}

}  // namespace
}  // namespace nibble::testing
