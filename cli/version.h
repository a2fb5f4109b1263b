// What build this is.
#pragma once

#include <string>

namespace nibble {
std::string version();       // "0.1.0"
std::string commit();        // "1a2b3c4d5e6f"
std::string build_type();    // "Release"
std::string version_text();  // one line: version, commit, build type, CPU tier
}  // namespace nibble
