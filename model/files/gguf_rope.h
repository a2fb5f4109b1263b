// Rotary positions in GGUF: a base, a share of the head, one of several ways to stretch; Llama 3's
// and Phi 3's are tensors of factors beside the weights.
#pragma once

#include "model/files/gguf_architecture.h"

namespace nibble {

inline constexpr const char* kRopeKeys[] = {"rope.freq_base",
                                            "rope.freq_base_swa",
                                            "rope.dimension_count",
                                            "rope.scaling.type",
                                            "rope.scaling.factor",
                                            "rope.scale_linear",
                                            "rope.scaling.original_context_length",
                                            "rope.scaling.attn_factor",
                                            "rope.scaling.yarn_beta_fast",
                                            "rope.scaling.yarn_beta_slow",
                                            "rope.scaling.yarn_attn_factor"};

void read_gguf_rope(const Gguf& file, const GgufArchitecture& a, const HeadSizes& sizes,
                    const ReadFactors& factors, Json& config);
void write_gguf_rope(const Blueprint& b, const std::string& where, const GgufArchitecture& a,
                     GgufConfig& out);

// Llama 3's divisor of frequency i of `rotary` / 2 (dubbed "llama3" in config.json).
std::vector<float> llama3_factors(double theta, int64_t rotary, double factor, double low,
                                  double high, double original);

}  // namespace nibble
