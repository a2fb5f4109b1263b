// One function per row of families.def: config.json → Blueprint. They share the blocks of
// blocks.h; each says only what is its own.
#pragma once

#include "model/blueprint.h"
#include "model/config_reader.h"

namespace nibble {

#define FAMILY(model_type, read, members, notes) void read(ConfigReader& config, Blueprint& b);
#include "model/families.def"
#undef FAMILY

}  // namespace nibble
