// The projections of a blueprint by their paths and shapes, without any weights.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/blueprint.h"
#include "quant/plan.h"

namespace nibble {

struct LinearPath {
  std::string path;
  int64_t out = 0, in = 0;
};
// In the order of Decoder::linears().
std::vector<LinearPath> linear_paths(const Blueprint& blueprint);
// All that can be quantized: the projections, a pooler, the embedding and the head, tied or not.
std::vector<LinearPath> modules_of(const Blueprint& blueprint);
// Whether a module is one of the layers' projections: the only ones that lie (in, out) in files of
// a transposed family.
bool is_projection(const Blueprint& blueprint, const std::string& path);
std::vector<std::string> module_paths(const Blueprint& blueprint);

// The format that a plan gives to a module whose values lie plain on file; none: it stays so. A
// table that is the head too goes by both names. A directory that is quantized has all formats it
// wants: there only rules count.
std::optional<QuantSpec> planned_spec(const QuantPlan& plan, const Blueprint& blueprint,
                                      const std::string& path, bool prequantized);

}  // namespace nibble
