// Declared from families.def: each family's file translates a config.json into a Blueprint.
#pragma once

#include "model/blueprint.h"
#include "model/config_reader.h"

namespace nibble {

#define FAMILY(model_type, read) void read(ConfigReader& config, Blueprint& blueprint);
#include "model/families.def"
#undef FAMILY

// What Llama and its close relatives share: widths, norms, SwiGLU, plain rotary positions, no
// windows.
void read_llama_blocks(ConfigReader& config, Blueprint& blueprint);

}  // namespace nibble
