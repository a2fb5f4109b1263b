#include "tests/serving/http/script.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/text.h"

namespace nibble::testing {
namespace {

template <class Condition>
bool wait_for(Condition condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

}  // namespace

ScriptedBackend::ScriptedBackend()
    : models_{{"tiny", -1, ""}, {"org/poet", 0, "tiny"}, {"plain", 1, "tiny"}} {
  play = [](const Request& request) { say(request, "Hi there"); };
}

std::vector<int32_t> ScriptedBackend::encode(std::string_view text, bool special) const {
  std::vector<int32_t> ids;
  if (special) ids.push_back(256);
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

std::string ScriptedBackend::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) text += token_bytes(id);
  return text;
}

std::string ScriptedBackend::token_bytes(int32_t id) const {
  return id < 256 ? std::string(1, static_cast<char>(id)) : "<s>";
}

std::string ScriptedBackend::render_chat(const Json& messages, bool generate,
                                         const Json& variables) const {
  std::string text;
  for (const auto& [name, value] : variables.items()) text += cat(name, "=", value.dump(), ";");
  for (const Json& m : messages) {
    if (m["role"] == "tool") throw UserError("chat_template:1", "no tools here");
    const Json& content = m["content"];
    std::string said;
    if (content.is_string()) said = content.get<std::string>();
    if (content.is_array())
      for (const Json& part : content) said += part["text"].get<std::string>();
    text += cat("<", m["role"].get<std::string>().substr(0, 1), ">", said, "</>");
  }
  return generate ? text + "<a>" : text;
}

Admit ScriptedBackend::submit(Request request) {
  if (admit != Admit::accepted) return admit;
  {
    const std::lock_guard lock(mutex_);
    seen_.push_back(request);
  }
  play(std::move(request));
  return Admit::accepted;
}

void ScriptedBackend::cancel(uint64_t request) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(request);
}

serving::EngineStats ScriptedBackend::stats() const {
  serving::EngineStats s;
  s.running = 2;
  s.waiting = 3;
  s.blocks_total = 8;
  s.blocks_used = 2;
  s.finished_stop = 5;
  s.finished_length = 4;
  s.prompt_tokens = 70;
  s.generation_tokens = 90;
  return s;
}

std::vector<Request> ScriptedBackend::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}
std::vector<uint64_t> ScriptedBackend::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_;
}
bool ScriptedBackend::wait_cancelled(size_t count) const {
  return wait_for([&] { return cancelled().size() >= count; });
}
bool ScriptedBackend::wait_seen(size_t count) const {
  return wait_for([&] { return seen().size() >= count; });
}

Event piece(const Request& request, const std::string& text) {
  Event event;
  event.request = request.id;
  event.text = text;
  for (const char c : text) {
    const int32_t id = static_cast<unsigned char>(c);
    event.tokens.push_back(id);
    if (request.sampling.logprobs < 0) continue;
    TokenLogprob t{id, -0.1f, {}};
    for (int i = 0; i < request.sampling.logprobs; ++i)
      t.top.emplace_back(i == 0 ? id : 'a' + i, -0.1f * static_cast<float>(i + 1));
    event.logprobs.push_back(std::move(t));
  }
  return event;
}

Event ending(const Request& request, FinishReason reason, const std::string& why) {
  Event event;
  event.request = request.id;
  event.finish = reason;
  event.stop_reason = why;
  return event;
}

void say(const Request& request, const std::string& text) {
  std::vector<TokenLogprob> prompt;
  if (request.sampling.prompt_logprobs)
    for (const int32_t id : request.prompt)
      prompt.push_back({id, prompt.empty() ? 0.0f : -0.5f, {}});
  for (size_t i = 0; i < text.size(); ++i) {
    if (static_cast<int64_t>(i) == request.sampling.max_tokens) break;
    Event event = piece(request, text.substr(i, 1));
    event.prompt_logprobs = std::exchange(prompt, {});
    request.on_event(std::move(event));
  }
  const bool cut = request.sampling.max_tokens <= static_cast<int64_t>(text.size());
  Event last = ending(request, cut ? FinishReason::length : FinishReason::stop);
  last.prompt_logprobs = std::move(prompt);
  request.on_event(std::move(last));
}

TestServer::TestServer(
    ScriptedBackend& backend,
    std::function<void(serving::http::ServiceOptions&, serving::http::ServerOptions&)> adjust) {
  serving::http::ServiceOptions general;
  general.version = "0.0.0-test";
  serving::http::ServerOptions sockets;
  sockets.port = 0;
  sockets.linger = std::chrono::milliseconds(300);
  if (adjust) adjust(general, sockets);
  service = std::make_unique<serving::http::Service>(backend, general);
  server = std::make_unique<serving::http::Server>(*service, sockets);
  server->start();
}

TestServer::~TestServer() { server->stop(); }

Client::Client(const TestServer& server, int receive_buffer) {
  fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
  if (receive_buffer > 0)
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<uint16_t>(server.server->port()));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) leave();
}

Client::~Client() { leave(); }

bool Client::send(const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

bool Client::fill() {
  pollfd look{fd_, POLLIN, 0};
  if (fd_ < 0 || ::poll(&look, 1, 10'000) <= 0) return false;
  char piece[16384];
  const ssize_t n = ::recv(fd_, piece, sizeof piece, 0);
  if (n <= 0) return false;
  buffer_.append(piece, static_cast<size_t>(n));
  return true;
}

std::string Client::read_until(const std::string& text) {
  for (;;) {
    const size_t at = buffer_.find(text);
    if (at != std::string::npos) {
      std::string out = buffer_.substr(0, at + text.size());
      buffer_.erase(0, at + text.size());
      return out;
    }
    if (!fill()) return std::exchange(buffer_, "");
  }
}

Answered Client::read() {
  Answered answer;
  std::string head = read_until("\r\n\r\n");
  while (starts_with(head, "HTTP/1.1 100")) head = read_until("\r\n\r\n");
  if (head.size() < 12) return answer;
  answer.status = std::stoi(head.substr(9, 3));
  for (const std::string& line : split(head, '\n')) {
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    answer.headers[name] = std::string(trim(line.substr(colon + 2)));
  }
  if (answer.headers.count("content-length") != 0) {
    const size_t size = std::stoul(answer.headers["content-length"]);
    while (buffer_.size() < size && fill()) {
    }
    answer.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
  } else if (answer.headers.count("transfer-encoding") != 0) {
    for (;;) {
      const std::string line = read_until("\r\n");
      const size_t size = line.empty() ? 0 : std::stoul(line, nullptr, 16);
      while (buffer_.size() < size + 2 && fill()) {
      }
      answer.body += buffer_.substr(0, size);
      buffer_.erase(0, size + 2);
      if (size == 0) break;
    }
  } else {
    while (fill()) {
    }
    answer.body = std::exchange(buffer_, "");
  }
  return answer;
}

bool Client::closed_within(int milliseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  char piece[65536];
  while (std::chrono::steady_clock::now() < end) {
    pollfd look{fd_, POLLIN, 0};
    if (::poll(&look, 1, 20) <= 0) continue;
    if (::recv(fd_, piece, sizeof piece, 0) <= 0) return true;
  }
  return false;
}

void Client::leave() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Client::reset() {
  const linger now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  leave();
}

std::vector<std::string> Answered::data() const {
  std::vector<std::string> frames;
  size_t at = 0;
  for (size_t end; (end = body.find("\n\n", at)) != std::string::npos; at = end + 2) {
    const std::string frame = body.substr(at, end - at);
    if (starts_with(frame, "data: ")) frames.push_back(frame.substr(6));
  }
  return frames;
}

std::string get(const std::string& path, const std::string& headers) {
  return cat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\n", headers, "\r\n");
}

std::string post(const std::string& path, const std::string& body, const std::string& headers) {
  return cat("POST ", path, " HTTP/1.1\r\nHost: localhost\r\n", headers,
             "Content-Length: ", body.size(), "\r\n\r\n", body);
}

Answered ask(const TestServer& server, const std::string& request) {
  Client client(server);
  client.send(request);
  return client.read();
}

}  // namespace nibble::testing
