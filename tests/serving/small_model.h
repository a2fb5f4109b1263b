// A real model small enough for every test: random weights written and read as a directory, with
// two random adapters in slots 0 and 1. The second has rows of its own for some tokens.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/device.h"
#include "model/model.h"

namespace nibble::testing {

constexpr int64_t kSmallVocab = 97;
constexpr int64_t kSmallContext = 160;

// A folder that goes with the test.
struct ScratchFolder {
  ScratchFolder()
      : path(std::filesystem::temp_directory_path() /
             ("nibble-serving-" + std::to_string(::getpid()) + "-" + std::to_string(count()++))) {
    std::filesystem::create_directories(path);
  }
  ~ScratchFolder() { std::filesystem::remove_all(path); }
  static int& count() {
    static int n = 0;
    return n;
  }
  std::filesystem::path path;
};

inline void add_adapter(Decoder& decoder, const Device& device, int slot, int64_t rank) {
  const auto fill = [&](Shape shape, const std::string& name, double scale) {
    Parameter p;
    p.name = name;
    p.value = Tensor::empty(device.memory(), shape, DType::f32, Purpose::adapter);
    for (int64_t i = 0; i < p.value.numel(); ++i)
      p.value.data<float>()[i] = static_cast<float>(
          scale * random_normal(RngKey{7, rng_site(name), static_cast<uint64_t>(slot), 0},
                                static_cast<uint64_t>(i)));
    return p;
  };
  for (Linear* linear : decoder.linears()) {
    auto pair = std::make_shared<LoraPair>();
    pair->a = fill({rank, linear->in()}, linear->path() + ".a", 0.2);
    pair->b = fill({linear->out(), rank}, linear->path() + ".b", 0.2);
    pair->scale = 0.5;
    linear->set_adapter(slot, std::move(pair));
  }
  if (slot != 1) return;
  const auto rows = [&](const std::string& name, std::vector<int32_t> ids) {
    auto own = std::make_shared<TokenRows>();
    own->rows = fill({static_cast<int64_t>(ids.size()), decoder.blueprint().hidden}, name, 0.3);
    own->ids = std::move(ids);
    own->of = decoder.blueprint().vocab;
    return own;
  };
  AdapterTokens tokens;
  tokens.embedding = rows("embedding", {3, 30, 31, 96});
  tokens.head = rows("head", {5, 31, 32});
  decoder.set_tokens(slot, std::move(tokens));
}

inline std::shared_ptr<Model> small_model(const Device& device, DType compute,
                                          std::optional<QuantSpec> quant = {}) {
  const ScratchFolder folder;
  const std::string config = folder.path / "config.json", out = folder.path / "model";
  std::ofstream(config) << R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 97, "max_position_embeddings": 160,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
    "hidden_act": "silu", "initializer_range": 0.25, "torch_dtype": "float32",
    "bos_token_id": 1, "eos_token_id": 2})";
  make_model(device, config, out, 5);
  LoadOptions options;
  options.compute = compute;
  options.quant = quant;
  auto model = std::make_shared<Model>(load_model(device, out, options));
  add_adapter(*model->decoder, device, 0, 4);
  add_adapter(*model->decoder, device, 1, 7);
  return model;
}

// The tiers this CPU has.
inline std::vector<CpuTier> tiers() {
  std::vector<CpuTier> all;
  for (const CpuTier tier : {CpuTier::scalar, CpuTier::avx2, CpuTier::avx512}) {
    try {
      Device::cpu(1, tier);
      all.push_back(tier);
    } catch (const std::exception&) {
      break;
    }
  }
  return all;
}

}  // namespace nibble::testing
