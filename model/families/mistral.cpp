// Mistral 7B and Nemo: Llama's blocks, every layer behind a window where the file says so (Jiang
// et al. 2023). Ministral: windows in some layers only.
#include <nlohmann/json.hpp>

#include "model/families/blocks.h"
#include "model/families/families.h"

namespace nibble {

void read_mistral(ConfigReader& config, Blueprint& b) {
  read_llama_blocks(config, b);
  // A file that does not say has the window of the first release.
  const int64_t window = read_window(config, 4096);
  read_windows(config, b, window, [&](int64_t) { return window > 0; });
  config.only("attention_bias", false, "Mistral has no attention biases");
  config.only("mlp_bias", false, "Mistral has no MLP biases");
}

void read_ministral(ConfigReader& config, Blueprint& b) {
  read_llama_blocks(config, b);
  const int64_t window = read_window(config, 4096);
  read_windows(config, b, window, [&](int64_t) { return window > 0; });
}

}  // namespace nibble
