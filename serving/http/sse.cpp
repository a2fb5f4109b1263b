#include "serving/http/sse.h"

#include "base/text.h"

namespace nibble::serving::http {

HttpResponse sse_head() {
  HttpResponse head;
  head.content_type = "text/event-stream; charset=utf-8";
  // Proxies that gather a response would turn a stream into one late lump.
  head.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  head.ping = ": ping\n\n";
  return head;
}

std::string sse_frame(std::string_view json) { return cat("data: ", json, "\n\n"); }

}  // namespace nibble::serving::http
