// A request as it came and the answer that goes back, free of sockets: routes see only these.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble::serving::http {

using Clock = std::chrono::steady_clock;

struct HttpRequest {
  std::string method, path;  // path: percent-decoded, without the query
  std::string body;
  std::string host, authorization, content_type, request_id;
  bool has_host = false;
  int version = 11;  // 10 or 11
  Clock::time_point received = Clock::now();
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool close = false;  // the connection ends after it
  std::string ping;    // streams: sent after a silence; empty: never
};

// The way back to one client. Any thread may call; what happens, happens on the connection's
// strand in the order of the calls. After the client has left, calls do nothing.
class Reply {
 public:
  virtual ~Reply() = default;
  virtual void post(std::function<void()> work) = 0;  // runs on the strand
  // The whole answer.
  virtual void send(HttpResponse response) = 0;
  // Or a stream: the head, pieces, the end.
  virtual void begin_stream(HttpResponse head) = 0;
  virtual void write(std::string piece) = 0;
  virtual void end_stream() = 0;
  // `leave` runs once on the strand when the client goes before the answer is complete (at once
  // when it has gone already); `halt` when the server must end now and the client still listens.
  virtual void watch(std::function<void()> leave, std::function<void()> halt) = 0;
};

}  // namespace nibble::serving::http
