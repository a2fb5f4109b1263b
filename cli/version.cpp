#include "cli/version.h"

#include "base/text.h"
#include "kernels/device.h"

namespace nibble {

std::string version() { return NIBBLE_VERSION; }
std::string commit() { return NIBBLE_COMMIT; }
std::string build_type() { return NIBBLE_BUILD_TYPE; }

std::string version_text() {
  return cat("nibble ", version(), " (commit ", commit(), ", ", build_type(), ", cpu tier ",
             name_of(choose_cpu_tier().tier), ")");
}

}  // namespace nibble
