// SHA-256 (FIPS 180-4). Keys are compared by their digests, so that the time of a comparison says
// nothing about a key.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace nibble::serving::http {

using Digest = std::array<uint8_t, 32>;
Digest sha256(std::string_view bytes);
bool equal_in_constant_time(const Digest& a, const Digest& b);

}  // namespace nibble::serving::http
