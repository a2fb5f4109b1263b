// Rotary positions (Su et al. 2021) and the ways they are stretched beyond the length a model was
// trained for: what frequency each pair of columns turns at. All arithmetic is fp64.
#pragma once

#include <cstdint>
#include <vector>

namespace nibble {

enum class RopeScaling : uint8_t {
  none,
  linear,   // positions divided by factor
  dynamic,  // NTK-aware base from the length of the text (bloc97, emozilla 2023)
  llama3,   // low frequencies divided by factor, a smooth band between (Llama 3.1)
  yarn,     // per-pair interpolation and a factor on attention (Peng et al. 2023)
  longrope  // a factor per pair, two sets by length (Ding et al. 2024)
};
const char* name_of(RopeScaling scaling);

struct RopeBlueprint {
  double theta = 10000;
  int64_t rotary = 0;        // leading columns of a head that turn
  bool interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + rotary / 2)
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;
  int64_t original_positions = 0;                    // what the model was trained for
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;              // yarn
  bool truncate = true;                              // yarn
  double attention_factor = 1;                       // yarn, longrope: cos and sin × this
  std::vector<double> short_factor, long_factor;     // longrope, rotary / 2 each
};

// Whether frequencies depend on how long the text is.
//   by_token: those of a token follow the length at which it was first computed (dynamic)
//   by_text:  all tokens follow the whole length; they change when it passes original_positions
enum class RopeLength : uint8_t { none, by_token, by_text };
RopeLength length_rule(const RopeBlueprint& rope);

// (rotary / 2) radians a position for a text of `length` tokens.
std::vector<double> rope_frequencies(const RopeBlueprint& rope, int64_t length);

}  // namespace nibble
