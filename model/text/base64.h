// Base64 as files carry it: RFC 4648's alphabet, padding at the end or left away.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nibble::text {

// Nothing when the text holds another character or ends in the middle of a byte.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace nibble::text
