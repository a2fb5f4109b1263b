// HTTP/1.1 as text: what a response looks like, and what of a request's text may be trusted.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "serving/http/message.h"

namespace nibble::serving::http {

struct Framing {
  bool stream = false;   // no length is known
  bool chunked = false;  // a stream in HTTP/1.1
  bool keep_alive = true;
  int version = 11;
  std::string request_id;
};
std::string response_head(const HttpResponse& response, const Framing& framing);
std::string chunk_of(std::string_view piece);  // one piece of a chunked body, not empty
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

std::string percent_decoded(std::string_view text);
// What a client may choose for its own bookkeeping, harmless in a header of ours; else "".
std::string safe_request_id(std::string_view id);

}  // namespace nibble::serving::http
