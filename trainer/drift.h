// How far a merged model moved from the base with its adapter on top, on a given text.
#pragma once

#include <string>

#include "kernels/device.h"

namespace nibble {

struct Drift {
  double max_abs_logit = 0;  // largest |merged - unmerged| over all positions and tokens
  double mean_kl = 0;        // mean over positions of KL(unmerged || merged), nats
  double nll_unmerged = 0, nll_merged = 0;  // mean per predicted token
  int64_t tokens = 0;                       // predicted tokens
};

// Both models compute in f32. The unmerged one is quantized as the adapter's provenance says.
Drift measure_drift(const Device& device, const std::string& base, const std::string& adapter,
                    const std::string& merged, const std::string& file);

}  // namespace nibble
