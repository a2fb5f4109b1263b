// Shared by the tests of model, trainer and serving: reading vectors with nibble's own reader, tiny
// models made on the spot, a folder that goes away.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "model/files/safetensors.h"
#include "model/model.h"
#include "tests/support/data.h"

namespace nibble::testing {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "nibble-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Values of a float or integer tensor as doubles.
inline std::vector<double> values(const Tensor& t) {
  std::vector<double> out(static_cast<size_t>(t.numel()));
  for (size_t i = 0; i < out.size(); ++i) {
    if (t.dtype() == DType::f32) out[i] = t.data<float>()[i];
    if (t.dtype() == DType::f64) out[i] = t.data<double>()[i];
    if (t.dtype() == DType::i32) out[i] = t.data<int32_t>()[i];
    if (t.dtype() == DType::i64) out[i] = static_cast<double>(t.data<int64_t>()[i]);
  }
  return out;
}

inline std::vector<double> read_values(const TensorFiles& files, const std::string& name) {
  Memory memory;
  return values(files.read(name, memory, Purpose::staging));
}

inline std::vector<int32_t> read_ids(const TensorFiles& files, const std::string& name) {
  std::vector<int32_t> out;
  for (double v : read_values(files, name)) out.push_back(static_cast<int32_t>(v));
  return out;
}

inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

// ‖a - b‖ / ‖b‖
inline double relative_norm(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / std::max(norm, 1e-300));
}

inline std::vector<double> logits_of(const Device& device, const Model& model,
                                     const std::vector<int32_t>& ids) {
  Ctx ctx(device, model.options.compute);
  Document document;
  document.ids = ids;
  PackedBatch batch = pack(device.memory(), {document});
  ForwardContext context{ctx};
  context.packed = &batch.segments;
  context.adapters = {{0, 0, batch.segments.tokens}};
  return values(model.decoder->logits(ctx, model.decoder->hidden(context, batch.ids).value(),
                                      context.adapters));
}

inline std::vector<CpuTier> tiers() {
  std::vector<CpuTier> all{CpuTier::scalar};
  if (cpu_features().avx2 && cpu_features().fma) all.push_back(CpuTier::avx2);
  if (cpu_features().avx512f && cpu_features().avx512bw && cpu_features().avx512vl)
    all.push_back(CpuTier::avx512);
  return all;
}

inline LoadOptions in_f32() {
  LoadOptions options;
  options.compute = DType::f32;
  return options;
}

// A small Llama config; `more` is spliced in before the closing brace, e.g. R"(,"mlp_bias":true)".
inline std::string tiny_config(const std::string& more = "") {
  return R"({"model_type":"llama","hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,)"
         R"("num_attention_heads":4,"num_key_value_heads":2,"vocab_size":96,)"
         R"("max_position_embeddings":128,"rms_norm_eps":1e-05,"rope_theta":10000.0,)"
         R"("hidden_act":"silu","tie_word_embeddings":true,"bos_token_id":1,"eos_token_id":2,)"
         R"("initializer_range":0.2,"torch_dtype":"float32")" +
         more + "}";
}

}  // namespace nibble::testing
