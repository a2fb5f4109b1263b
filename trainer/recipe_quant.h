// The keys of a recipe that say how the frozen base is kept.
#pragma once

#include <string>

#include "quant/plan.h"

namespace nibble {

// What `nibble quantize --recipe` and `--recipe` of other commands take from a file.
struct QuantRecipe {
  QuantPlan plan;
  std::string storage;  // "uint8", …; "": not said
};
// A whole recipe or only its keys about quantization. Every mistake in one run.
QuantRecipe read_quant_recipe(const std::string& path);

}  // namespace nibble
