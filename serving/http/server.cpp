// Beast parses, Asio moves bytes, and this file decides. A connection is one strand: it reads ahead
// all the time, which is how it sees that a client has left; it parses the next request only when
// the last one is answered; unsent bytes of a stream are bounded.
#include "serving/http/server.h"

#include <poll.h>

#include <array>
#include <boost/asio.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>
#include <thread>
#include <unordered_set>

#include "base/errors.h"
#include "base/log.h"
#include "base/text.h"
#include "serving/http/wire.h"

namespace nibble::serving::http {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
using tcp = net::ip::tcp;
using Strand = net::strand<net::io_context::executor_type>;
using Socket = net::basic_stream_socket<tcp, Strand>;
using Timer = net::basic_waitable_timer<Clock, net::wait_traits<Clock>, Strand>;
using Parser = beast::http::request_parser<beast::http::string_body>;

constexpr Clock::time_point kNever = Clock::time_point::max();
constexpr size_t kReadPiece = 64u << 10;

ApiError parse_failure(const beast::error_code& error) {
  using Kind = beast::http::error;
  if (error == Kind::body_limit) return {413, "request_too_large", "the request body is too large"};
  if (error == Kind::header_limit)
    return {431, "headers_too_large", "the request's headers are too large"};
  return {400, "invalid_request_error", "this is not a valid HTTP/1.1 request"};
}

class Connection;

}  // namespace

struct Server::Impl {
  Impl(Service& s, ServerOptions o)
      : service(s),
        options(std::move(o)),
        acceptor(net::make_strand(io)),
        workers(static_cast<size_t>(options.workers)) {}

  void accept();
  void accepted(beast::error_code error, Socket socket);
  void began() {
    const std::lock_guard lock(mutex);
    ++answering;
  }
  void ended() {
    const std::lock_guard lock(mutex);
    if (--answering == 0) idle.notify_all();
  }
  bool wait_idle(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex);
    return idle.wait_for(lock, time, [&] { return answering == 0; });
  }

  std::vector<std::shared_ptr<Connection>> alive();

  Service& service;
  const ServerOptions options;

  // Connections name these to the last, also those that end with `io`: they are declared first.
  std::mutex mutex;  // guards the next three
  std::condition_variable idle;
  int64_t answering = 0;
  std::unordered_set<Connection*> connections;

  net::io_context io;
  net::basic_socket_acceptor<tcp, Strand> acceptor;
  net::thread_pool workers;
  std::vector<std::thread> threads;
  int port = 0;
  bool started = false, stopped = false;
  std::atomic<bool> stopping{false};
};

namespace {

class Connection : public Reply, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server::Impl& server, Socket socket)
      : server_(server),
        options_(server.options),
        socket_(std::move(socket)),
        timer_(socket_.get_executor()) {}
  ~Connection() override {
    const std::lock_guard lock(server_.mutex);
    server_.connections.erase(this);
  }

  void start() {
    {  // not in the constructor: before a shared_ptr owns it nobody may ask for one
      const std::lock_guard lock(server_.mutex);
      server_.connections.insert(this);
    }
    beast::error_code ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
    socket_.non_blocking(true, ignored);
    net::dispatch(socket_.get_executor(), [self = self()] {
      self->next_request();
      // Whoever connects says something soon; only later requests may let wait for them.
      self->set(self->read_deadline_, self->options_.header_time);
      self->read();
    });
  }
  void halt();  // any thread: the server ends now
  std::shared_ptr<Connection> self_if_alive() { return weak_from_this().lock(); }
  void end() {  // no thread runs any more
    if (phase_ != Phase::closed) close();
  }

  void post(std::function<void()> work) override {
    net::post(socket_.get_executor(), [self = self(), work = std::move(work)] { work(); });
  }
  void send(HttpResponse response) override;
  void begin_stream(HttpResponse head) override;
  void write(std::string piece) override;
  void end_stream() override;
  void watch(std::function<void()> leave, std::function<void()> halt) override;

 private:
  enum class Phase : uint8_t { reading, answering, streaming, answered, lingering, closed };

  std::shared_ptr<Connection> self() { return shared_from_this(); }
  void next_request();
  void read();
  void on_readable(beast::error_code error);
  void parse();
  bool on_header();
  void on_request();
  void refuse(const ApiError& error);
  void answer(HttpResponse response, bool stream);
  void flush();
  void on_written(beast::error_code error, size_t bytes);
  void on_flushed();
  void linger();
  void leave();
  void close();
  void set(Clock::time_point& deadline, std::chrono::milliseconds after);
  void arm();
  void on_timer();
  bool peer_gone();

  Server::Impl& server_;
  const ServerOptions& options_;
  Socket socket_;
  Timer timer_;
  std::string input_;  // read and not yet parsed
  std::optional<Parser> parser_;
  HttpRequest request_;
  const Route* route_ = nullptr;
  Phase phase_ = Phase::reading;
  bool header_seen_ = false, reading_ = false, keep_alive_ = true, chunked_ = false, head_ = false;
  bool halted_ = false;
  std::string pending_, sending_, ping_;
  size_t sent_ = 0;
  std::function<void()> leave_, halt_;
  Clock::time_point read_deadline_ = kNever, write_deadline_ = kNever, ping_at_ = kNever,
                    poll_at_ = kNever, armed_ = kNever;
};

// One timer serves all deadlines: it is armed for the earliest and looks again when it fires, so
// that moving a deadline away costs nothing.
void Connection::set(Clock::time_point& deadline, std::chrono::milliseconds after) {
  deadline = Clock::now() + after;
  arm();
}

void Connection::arm() {
  const Clock::time_point next = std::min({read_deadline_, write_deadline_, ping_at_, poll_at_});
  if (phase_ == Phase::closed || next >= armed_) return;
  armed_ = next;
  timer_.expires_at(next);
  timer_.async_wait([self = self()](beast::error_code error) {
    if (error) return;
    self->armed_ = kNever;
    self->on_timer();
  });
}

void Connection::on_timer() {
  if (phase_ == Phase::closed) return;
  const Clock::time_point now = Clock::now();
  if (now >= read_deadline_ || now >= write_deadline_) return leave();
  if (now >= poll_at_) {
    if (peer_gone()) return leave();
    set(poll_at_, std::chrono::milliseconds(250));
  }
  if (now >= ping_at_ && phase_ == Phase::streaming) write(ping_);
  arm();
}

// For a client that sent so much ahead that reading had to pause.
bool Connection::peer_gone() {
  pollfd look{socket_.native_handle(), POLLRDHUP, 0};
  return ::poll(&look, 1, 0) > 0 && (look.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void Connection::next_request() {
  phase_ = Phase::reading;
  header_seen_ = false;
  route_ = nullptr;
  request_ = {};
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(options_.max_header));
  parser_->body_limit(options_.max_body);
  poll_at_ = ping_at_ = kNever;
  set(read_deadline_, !input_.empty() ? options_.header_time : options_.idle_time);
}

void Connection::read() {
  if (reading_ || phase_ == Phase::closed) return;
  const bool busy = phase_ != Phase::reading && phase_ != Phase::lingering;
  if (busy && input_.size() >= options_.pipelined) {
    if (poll_at_ == kNever) set(poll_at_, std::chrono::milliseconds(250));
    return;
  }
  // Waiting first: ten thousand silent connections need no buffers.
  reading_ = true;
  socket_.async_wait(tcp::socket::wait_read,
                     [self = self()](beast::error_code error) { self->on_readable(error); });
}

void Connection::on_readable(beast::error_code error) {
  reading_ = false;
  if (phase_ == Phase::closed) return;
  std::array<char, kReadPiece> piece;
  const size_t bytes = error ? 0 : socket_.read_some(net::buffer(piece), error);
  if (error == net::error::would_block || error == net::error::interrupted) return read();
  if (error) return leave();
  if (phase_ == Phase::lingering) return read();  // what comes now is thrown away
  const bool first = input_.empty() && !header_seen_;
  input_.append(piece.data(), bytes);
  if (phase_ == Phase::reading) {
    if (first) set(read_deadline_, options_.header_time);
    parse();
  }
  read();
}

void Connection::parse() {
  while (phase_ == Phase::reading && !input_.empty()) {
    beast::error_code error;
    const size_t used = parser_->put(net::buffer(input_), error);
    input_.erase(0, used);
    if (error == beast::http::error::need_more) {
      if (input_.size() > options_.max_header + kReadPiece)
        refuse(parse_failure(beast::http::error::header_limit));
      return;
    }
    if (error) return refuse(parse_failure(error));
    if (parser_->is_header_done() && !header_seen_ && !on_header()) return;
    if (parser_->is_done()) return on_request();
  }
}

// False when the head alone decides the answer.
bool Connection::on_header() {
  header_seen_ = true;
  const auto& message = parser_->get();
  namespace field = beast::http;
  auto text = [&](beast::http::field name) {
    const auto value = message[name];
    return std::string(value.data(), value.size());
  };
  const std::string_view target(message.target().data(), message.target().size());
  request_.method = std::string(message.method_string().data(), message.method_string().size());
  request_.path = percent_decoded(target.substr(0, target.find('?')));
  request_.host = text(field::field::host);
  request_.has_host = message.count(field::field::host) > 0;
  request_.authorization = text(field::field::authorization);
  request_.content_type = text(field::field::content_type);
  const auto id = message["x-request-id"];
  request_.request_id = safe_request_id({id.data(), id.size()});
  request_.version = static_cast<int>(message.version());
  head_ = request_.method == "HEAD";
  keep_alive_ = parser_->keep_alive();
  if (static_cast<size_t>(std::distance(message.begin(), message.end())) > options_.max_headers) {
    refuse({431, "headers_too_large", "the request has too many headers"});
    return false;
  }
  if (message.count(field::field::host) > 1 || target.empty() || target[0] != '/') {
    refuse({400, "invalid_request_error", "this is not a valid HTTP/1.1 request"});
    return false;
  }
  try {
    route_ = &server_.service.admit(request_);
  } catch (const ApiError& error) {
    refuse(error);
    return false;
  }
  set(read_deadline_, options_.body_time);
  if (!parser_->is_done() && text(field::field::expect) == "100-continue" && input_.empty()) {
    pending_ += "HTTP/1.1 100 Continue\r\n\r\n";
    flush();
  }
  return true;
}

// An answer before the request is whole: what is left of it is not worth reading.
void Connection::refuse(const ApiError& error) {
  server_.began();
  phase_ = Phase::answering;
  read_deadline_ = kNever;
  HttpResponse response = error_response(error);
  response.close = response.close || !parser_->is_done();
  answer(std::move(response), false);
}

void Connection::on_request() {
  server_.began();
  phase_ = Phase::answering;
  read_deadline_ = kNever;
  request_.received = Clock::now();
  if (!route_->heavy) return server_.service.handle(*route_, request_, self());
  HttpRequest request = request_;
  request.body = std::move(parser_->get().body());
  net::post(server_.workers, [self = self(), route = route_, request = std::move(request)] {
    self->server_.service.handle(*route, request, self);
  });
}

void Connection::send(HttpResponse response) {
  net::dispatch(socket_.get_executor(), [self = self(), r = std::move(response)]() mutable {
    self->answer(std::move(r), false);
  });
}

void Connection::begin_stream(HttpResponse head) {
  net::dispatch(socket_.get_executor(), [self = self(), r = std::move(head)]() mutable {
    self->answer(std::move(r), true);
  });
}

void Connection::answer(HttpResponse response, bool stream) {
  if (phase_ != Phase::answering) return;
  if (server_.service.draining() || server_.stopping) response.close = true;
  chunked_ = stream && request_.version >= 11;
  if (stream && !chunked_) response.close = true;  // HTTP/1.0: the end is the end of the stream
  keep_alive_ = keep_alive_ && !response.close;
  const std::string& id = request_.request_id;
  pending_ += response_head(response, {stream, chunked_, keep_alive_, request_.version,
                                       id.empty() ? server_.service.new_id("req-") : id});
  if (!head_) pending_ += response.body;
  server_.service.metrics.answered(Service::handler_name(request_.path),
                                   Service::method_name(request_.method), response.status);
  phase_ = stream ? Phase::streaming : Phase::answered;
  ping_ = stream ? response.ping : "";
  if (!ping_.empty()) set(ping_at_, options_.ping_every);
  flush();
}

void Connection::write(std::string piece) {
  net::dispatch(socket_.get_executor(), [self = self(), piece = std::move(piece)] {
    if (self->phase_ != Phase::streaming || piece.empty()) return;
    self->pending_ += self->chunked_ ? chunk_of(piece) : piece;
    if (self->pending_.size() > self->options_.stream_buffer) return self->leave();
    if (!self->ping_.empty()) self->ping_at_ = Clock::now() + self->options_.ping_every;
    self->flush();
  });
}

void Connection::end_stream() {
  net::dispatch(socket_.get_executor(), [self = self()] {
    if (self->phase_ != Phase::streaming) return;
    if (self->chunked_) self->pending_ += kLastChunk;
    self->phase_ = Phase::answered;
    self->ping_at_ = kNever;
    self->flush();
  });
}

void Connection::watch(std::function<void()> leave, std::function<void()> halt) {
  net::dispatch(socket_.get_executor(),
                [self = self(), leave = std::move(leave), halt = std::move(halt)] {
                  if (self->phase_ == Phase::closed) return leave();
                  if (self->halted_) return halt();
                  self->leave_ = leave;
                  self->halt_ = halt;
                });
}

void Connection::flush() {
  if (!sending_.empty() || phase_ == Phase::closed) return;
  if (pending_.empty()) return on_flushed();
  sending_.swap(pending_);
  sent_ = 0;
  on_written({}, 0);
}

// A write is a walk: every byte the client takes moves the deadline.
void Connection::on_written(beast::error_code error, size_t bytes) {
  if (phase_ == Phase::closed) return;
  if (error) return leave();
  sent_ += bytes;
  if (sent_ == sending_.size()) {
    sending_.clear();
    write_deadline_ = kNever;
    return flush();
  }
  set(write_deadline_, options_.write_stall);
  socket_.async_write_some(
      net::buffer(sending_.data() + sent_, sending_.size() - sent_),
      [self = self()](beast::error_code e, size_t n) { self->on_written(e, n); });
}

void Connection::on_flushed() {
  if (phase_ != Phase::answered) return;
  leave_ = halt_ = nullptr;
  server_.ended();
  if (!keep_alive_ || server_.stopping) return linger();
  next_request();
  parse();
  read();
}

// Closing at once would reset the connection while the client still sends, and it would never read
// the answer: say that nothing more comes, and listen a little longer.
void Connection::linger() {
  phase_ = Phase::lingering;
  beast::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  input_.clear();
  poll_at_ = kNever;
  set(read_deadline_, options_.linger);
  read();
}

// The client is gone, or is treated as if it were.
void Connection::leave() {
  if (phase_ == Phase::closed) return;
  const bool owed =
      phase_ == Phase::answering || phase_ == Phase::streaming || phase_ == Phase::answered;
  const std::function<void()> tell = std::move(leave_);
  close();
  if (tell) tell();
  if (owed) server_.ended();
}

void Connection::close() {
  phase_ = Phase::closed;
  leave_ = halt_ = nullptr;
  timer_.cancel();
  beast::error_code ignored;
  socket_.close(ignored);
}

void Connection::halt() {
  net::post(socket_.get_executor(), [self = self()] {
    self->halted_ = true;
    if (self->phase_ == Phase::reading) return self->close();
    const std::function<void()> tell = std::move(self->halt_);
    if (tell) tell();
  });
}

}  // namespace

std::vector<std::shared_ptr<Connection>> Server::Impl::alive() {
  std::vector<std::shared_ptr<Connection>> all;
  const std::lock_guard lock(mutex);
  for (Connection* connection : connections)
    if (auto shared = connection->self_if_alive()) all.push_back(std::move(shared));
  return all;
}

void Server::Impl::accept() {
  acceptor.async_accept(net::make_strand(io), [this](beast::error_code error, Socket socket) {
    accepted(error, std::move(socket));
  });
}

void Server::Impl::accepted(beast::error_code error, Socket socket) {
  if (stopping || error == net::error::operation_aborted) return;
  if (!error) {
    std::make_shared<Connection>(*this, std::move(socket))->start();
    return accept();
  }
  // Out of file descriptors, most likely: connections that end will free some.
  auto pause = std::make_shared<Timer>(acceptor.get_executor(), std::chrono::milliseconds(50));
  pause->async_wait([this, pause](beast::error_code) { accept(); });
}

namespace {

tcp::endpoint resolve(const std::string& host, int port) {
  net::io_context io;
  beast::error_code error;
  const std::string name = host.size() > 2 && host.front() == '[' && host.back() == ']'
                               ? host.substr(1, host.size() - 2)
                               : host;
  const auto address = net::ip::make_address(name, error);
  if (!error) return {address, static_cast<uint16_t>(port)};
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(name, cat(port), error);
  // IPv4 first: clients that are told "localhost" try 127.0.0.1.
  for (const auto& entry : found)
    if (entry.endpoint().address().is_v4()) return entry.endpoint();
  for (const auto& entry : found) return entry.endpoint();
  throw UserError("--host", cat("cannot find the address of '", host, "'"),
                  "give 127.0.0.1, 0.0.0.0 or the address of one of this machine's interfaces");
}

}  // namespace

bool is_loopback(const std::string& host) { return resolve(host, 0).address().is_loopback(); }

Server::Server(Service& service, ServerOptions options)
    : impl_(std::make_unique<Impl>(service, std::move(options))) {}

Server::~Server() { stop(); }

void Server::start() {
  Impl& s = *impl_;
  const tcp::endpoint at = resolve(s.options.host, s.options.port);
  beast::error_code error;
  s.acceptor.open(at.protocol(), error);
  if (!error) s.acceptor.set_option(net::socket_base::reuse_address(true), error);
  if (!error) s.acceptor.bind(at, error);
  if (!error) s.acceptor.listen(net::socket_base::max_listen_connections, error);
  if (error)
    throw UserError(
        "--port",
        cat("cannot listen on ", s.options.host, ":", s.options.port, ": ", error.message()),
        error == net::error::address_in_use
            ? "another program has this port: choose another --port, or 0 for a free one"
            : "check --host and --port",
        Exit::cannot_create);
  s.port = s.acceptor.local_endpoint().port();
  s.started = true;
  net::post(s.acceptor.get_executor(), [&s] { s.accept(); });
  for (int i = 0; i < s.options.io_threads; ++i)
    s.threads.emplace_back([&s] {
      // The acceptor's pending work keeps the loop alive until stop().
      const auto guard = net::make_work_guard(s.io);
      for (;;) {
        try {
          s.io.run();
          return;
        } catch (const std::exception& e) {
          log::error(cat("a connection failed: ", e.what()));
        }
      }
    });
}

int Server::port() const { return impl_->port; }

std::string Server::url() const {
  const std::string& host = impl_->options.host;
  const bool bare6 = host.find(':') != std::string::npos && host.front() != '[';
  return cat("http://", bare6 ? cat("[", host, "]") : host, ":", impl_->port);
}

int64_t Server::answering() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->answering;
}

bool Server::drain(std::chrono::milliseconds time) {
  impl_->service.set_draining();
  return impl_->wait_idle(time);
}

void Server::stop() {
  Impl& s = *impl_;
  if (!s.started || s.stopped) return;
  s.stopped = true;
  s.service.set_draining();
  s.stopping = true;
  net::post(s.acceptor.get_executor(), [&s] {
    beast::error_code ignored;
    s.acceptor.close(ignored);
  });
  for (const auto& connection : s.alive()) connection->halt();
  s.wait_idle(std::chrono::seconds(1));
  s.workers.join();
  s.io.stop();
  for (std::thread& thread : s.threads) thread.join();
  s.threads.clear();
  for (const auto& connection : s.alive()) connection->end();
}

}  // namespace nibble::serving::http
