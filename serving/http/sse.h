// Server-sent events as OpenAI's clients expect them: data lines only, no event names.
#pragma once

#include <string>
#include <string_view>

#include "serving/http/message.h"

namespace nibble::serving::http {

HttpResponse sse_head();
std::string sse_frame(std::string_view json);  // one line of JSON
inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";

}  // namespace nibble::serving::http
