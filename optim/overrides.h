// Which settings each trained parameter gets: one rule for all, a width of state for embeddings,
// LoRA+'s rates, and what the recipe overrides by name (GlobalOptimManager's job).
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/errors.h"
#include "optim/optimizer.h"

namespace nibble {

struct PlacedOverride : OptimizerOverride {
  Where where;
};

struct SettingsPlan {
  StateFormat state;
  double learning_rate = 0;  // the peak that lr of an override is a multiple of
  double weight_decay = 0;   // of parameters that decay
  // LoRA+ (Hayou et al. 2024): lora_B learns at the rate × this, lora_A at the rate.
  std::optional<double> loraplus_ratio;
  std::optional<double> embedding_rate;  // of an adapter's own rows and tables
  std::vector<PlacedOverride> overrides;
};

// Embeddings keep 32-bit states unless an override says otherwise: their gradients are rows of
// zeros with a few large ones, which a shared absmax serves badly. An override that matches no
// parameter, or that is no regular expression: UserErrors at its place.
std::vector<TrainedParameter> resolve(const SettingsPlan& plan,
                                      const std::vector<Parameter*>& parameters,
                                      const std::function<bool(const Parameter&)>& is_embedding);

}  // namespace nibble
