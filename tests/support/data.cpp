#include "tests/support/data.h"

namespace nibble::testing {

std::string source_path(const std::string& relative) {
  return std::string(NIBBLE_SOURCE_DIR) + "/" + relative;
}

std::string golden_path(const std::string& relative) {
  return source_path("tests/golden/" + relative);
}

}  // namespace nibble::testing
