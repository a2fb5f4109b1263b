// Sockets: connections read requests, answer them in order, and notice when the client leaves.
// server.cpp is the only file that knows Beast.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "serving/http/service.h"

namespace nibble::serving::http {

struct ServerOptions {
  using Ms = std::chrono::milliseconds;
  std::string host = "127.0.0.1";
  int port = 8000;  // 0: a free one
  int io_threads = 2, workers = 2;
  size_t max_body = 32u << 20, max_header = 32u << 10, max_headers = 100;
  size_t stream_buffer = 256u << 10;  // unsent bytes of a stream; a slower reader is cut
  size_t pipelined = 64u << 10;       // bytes read ahead while a request is being answered
  Ms header_time{10'000}, body_time{30'000}, write_stall{60'000}, idle_time{75'000},
      ping_every{15'000}, linger{2'000};
};

bool is_loopback(const std::string& host);  // after resolving names

class Server {
 public:
  // The backend's callbacks may come until it is stopped: keep the server until then.
  Server(Service& service, ServerOptions options);
  ~Server();  // stops

  void start();  // binds and serves; throws UserError (cannot_create) when the port is taken
  int port() const;
  std::string url() const;

  // Refuses new work with 503 and waits until every answer is out, at most `time`. True when none
  // was left.
  bool drain(std::chrono::milliseconds time);
  void stop();  // answers still open are told so and ended; joins all threads
  int64_t answering() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace nibble::serving::http
