// A backend that plays a script, and a client of raw sockets: the tests of the HTTP layer stand on
// these alone.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/errors.h"
#include "serving/http/server.h"

namespace nibble::testing {

using serving::Admit;
using serving::Event;
using serving::FinishReason;
using serving::Request;
using serving::TokenLogprob;

// Tokens are bytes: "ab" is {97, 98}; 256 is BOS, spelled "<s>". Context 64, vocabulary 300.
class ScriptedBackend : public serving::http::Backend {
 public:
  ScriptedBackend();

  const std::vector<serving::http::ServedModel>& models() const override { return models_; }
  int64_t max_context() const override { return context; }
  int64_t vocab() const override { return 300; }
  bool has_tokenizer() const override { return tokenizer; }
  std::vector<int32_t> encode(std::string_view text, bool special) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  std::string token_bytes(int32_t id) const override;
  bool is_special(int32_t id) const override { return id == 256; }
  std::string render_chat(const Json& messages, bool generate,
                          const Json& variables) const override;
  Admit submit(Request request) override;
  void cancel(uint64_t request) override;
  serving::EngineStats stats() const override;
  bool healthy() const override { return well; }

  // What submit does with an accepted request; default: answers at once as `say` does.
  std::function<void(Request)> play;
  Admit admit = Admit::accepted;
  std::atomic<bool> well{true};
  bool tokenizer = true;
  int64_t context = 64;

  std::vector<Request> seen() const;  // all that were submitted
  std::vector<uint64_t> cancelled() const;
  bool wait_cancelled(size_t count) const;  // at most 5 s
  bool wait_seen(size_t count) const;

 private:
  std::vector<serving::http::ServedModel> models_;
  mutable std::mutex mutex_;
  std::vector<Request> seen_;
  std::vector<uint64_t> cancelled_;
};

// One event for each byte, then the end; honours max_tokens.
void say(const Request& request, const std::string& text);
Event piece(const Request& request, const std::string& text);
Event ending(const Request& request, FinishReason reason, const std::string& why = "");

// A server on a free port with short times.
struct TestServer {
  explicit TestServer(
      ScriptedBackend& backend,
      std::function<void(serving::http::ServiceOptions&, serving::http::ServerOptions&)> adjust =
          nullptr);
  ~TestServer();
  std::unique_ptr<serving::http::Service> service;
  std::unique_ptr<serving::http::Server> server;
};

struct Answered {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
  nlohmann::ordered_json json() const { return nlohmann::ordered_json::parse(body); }
  std::vector<std::string> data() const;  // payloads of the SSE frames
};

class Client {
 public:
  explicit Client(const TestServer& server, int receive_buffer = 0);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  bool send(const std::string& bytes);
  Answered read();                                  // one whole answer
  std::string read_until(const std::string& text);  // raw bytes up to and with `text`
  bool closed_within(int milliseconds);  // reads what comes, true at the end of the connection
  void leave();                          // closes
  void reset();                          // closes with RST

 private:
  bool fill();
  int fd_ = -1;
  std::string buffer_;
};

std::string get(const std::string& path, const std::string& headers = "");
std::string post(const std::string& path, const std::string& body,
                 const std::string& headers = "Content-Type: application/json\r\n");
Answered ask(const TestServer& server, const std::string& request);

}  // namespace nibble::testing
