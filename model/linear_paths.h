// The projections of a blueprint by their paths and shapes, without any weights.
#pragma once

#include <string>
#include <vector>

#include "model/blueprint.h"

namespace nibble {

struct LinearPath {
  std::string path;
  int64_t out = 0, in = 0;
};
// In the order of Decoder::linears().
std::vector<LinearPath> linear_paths(const Blueprint& blueprint);

}  // namespace nibble
