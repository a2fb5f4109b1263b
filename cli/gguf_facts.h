// What `nibble inspect` shows of a GGUF file: its keys, long lists cut short, and its tensors under
// the names they have on file.
#pragma once

#include <string>

#include "base/json.h"

namespace nibble {

Json gguf_facts(const std::string& path);

}  // namespace nibble
