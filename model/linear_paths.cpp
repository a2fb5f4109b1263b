#include "model/linear_paths.h"

namespace nibble {

std::vector<LinearPath> linear_paths(const Blueprint& b) {
  std::vector<LinearPath> all;
  for (int64_t i = 0; i < b.layers; ++i)
    for (const LinearSpec& spec : layer_linears(b))
      all.push_back({b.layer_path(i, spec.part), spec.out, spec.in});
  return all;
}

}  // namespace nibble
