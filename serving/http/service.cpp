#include "serving/http/service.h"

#include <ctime>
#include <random>

#include "base/files.h"
#include "base/log.h"
#include "base/text.h"

namespace nibble::serving::http {
namespace {

const bool open = true, keyed = false, heavy = true, light = false;

const Route kRoutes[] = {
#define ROUTE(method, path, access, work, handler) {method, path, access, work, handler},
#define LATER(path, what)
#include "serving/http/routes.def"
#undef ROUTE
#undef LATER
};

struct LaterRow {
  const char* path;
  const char* what;
};
const LaterRow kLater[] = {
#define ROUTE(method, path, access, work, handler)
#define LATER(path, what) {path, what},
#include "serving/http/routes.def"
#undef ROUTE
#undef LATER
};

bool matches(std::string_view pattern, std::string_view path) {
  const size_t brace = pattern.find('{');
  if (brace == std::string_view::npos) return pattern == path;
  return path.size() > brace && path.substr(0, brace) == pattern.substr(0, brace);
}

bool allows(std::string_view route, std::string_view method) {
  return route == method || (route == "GET" && method == "HEAD");
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// A page on the web may point a name of its own at this machine (DNS rebinding); its requests then
// carry that name.
bool names_this_machine(std::string_view host) {
  const size_t bracket = host.find(']');
  const size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const std::string name = lower(host.substr(0, colon));
  if (name == "localhost" || name == "[::1]") return true;
  return starts_with(name, "127.") && name.find_first_not_of("0123456789.") == std::string::npos;
}

bool is_json(const std::string& content_type) {
  return lower(trim(std::string_view(content_type).substr(0, content_type.find(';')))) ==
         "application/json";
}

uint64_t random_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) ^ device();
}

}  // namespace

Service::Service(Backend& b, ServiceOptions o)
    : backend(b), options(std::move(o)), created(std::time(nullptr)), id_seed_(random_seed()) {
  for (const std::string& key : options.api_keys) keys_.push_back(sha256(key));
}

bool Service::known_key(const std::string& authorization) const {
  const size_t space = authorization.find(' ');
  if (space == std::string::npos || lower(authorization.substr(0, space)) != "bearer") return false;
  const Digest given = sha256(trim(std::string_view(authorization).substr(space + 1)));
  bool known = false;
  for (const Digest& key : keys_) known = equal_in_constant_time(given, key) || known;
  return known;
}

const Route& Service::admit(const HttpRequest& head) const {
  if (!head.has_host && head.version >= 11)
    throw ApiError(400, "invalid_request_error", "the Host header is missing");
  if (options.loopback && head.has_host && !names_this_machine(head.host))
    throw ApiError(403, "host_not_allowed",
                   "this server listens on the loopback address only: the Host header must be "
                   "localhost, 127.0.0.1 or [::1]");
  const Route* found = nullptr;
  std::string allowed;
  for (const Route& route : kRoutes) {
    if (!matches(route.path, head.path)) continue;
    if (allows(route.method, head.method)) found = &route;
    allowed = route.method == std::string_view("GET") ? "GET, HEAD" : route.method;
  }
  if (!(found != nullptr && found->open) && !keys_.empty() && !known_key(head.authorization))
    throw ApiError(401, "invalid_api_key", "a valid key is needed: Authorization: Bearer KEY");
  if (found == nullptr && !allowed.empty()) {
    ApiError error(405, "method_not_allowed", cat("the method must be ", allowed));
    error.allow = allowed;
    throw error;
  }
  for (const LaterRow& later : kLater)
    if (head.path == later.path)
      throw ApiError(404, "not_supported_yet", cat(later.what, " not supported yet"));
  if (found == nullptr) throw ApiError(404, "not_found", "there is no such route");
  if (!found->heavy) return *found;
  if (draining_)
    throw ApiError(503, "server_draining", "the server is shutting down: ask another one");
  if (!backend.healthy())
    throw ApiError(503, "engine_unhealthy", "the engine has failed: the server must be restarted");
  if (!is_json(head.content_type))
    throw ApiError(400, "invalid_request_error", "the Content-Type must be application/json");
  return *found;
}

void Service::handle(const Route& route, const HttpRequest& request,
                     const std::shared_ptr<Reply>& reply) {
  try {
    route.handle(*this, request, reply);
  } catch (const ApiError& error) {
    reply->send(error_response(error));
  } catch (const std::exception& e) {
    // What went wrong here is for the log; a client learns only that it did.
    log::error(cat("request failed: ", e.what()));
    reply->send(error_response(
        {500, "internal_error", "the server failed on this request; its log says why"}));
  }
}

std::string Service::handler_name(const std::string& path) {
  for (const Route& route : kRoutes)
    if (matches(route.path, path)) return route.path;
  return "other";
}

std::string Service::method_name(const std::string& method) {
  for (const char* known : {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
    if (method == known) return known;
  return "other";
}

void Service::log_unknown(const std::set<std::string>& names) {
  constexpr size_t kMost = 256;  // a client cannot fill the memory or the log with names
  for (const std::string& name : names) {
    const bool plain = name.size() <= 64 && name.find_first_not_of(
                                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX"
                                                "YZ0123456789_-.") == std::string::npos;
    {
      const std::lock_guard lock(unknown_mutex_);
      if (!plain || unknown_.size() >= kMost || !unknown_.insert(name).second) continue;
    }
    log::info(cat("request field '", name, "' is unknown and has no effect"));
  }
}

std::string Service::new_id(const char* prefix) {
  static constexpr char kHex[] = "0123456789abcdef";
  const uint64_t n = ++last_id_;
  std::string id = prefix;
  for (const uint64_t half : {uint64_t{0}, uint64_t{1}}) {
    const std::string_view counter(reinterpret_cast<const char*>(&n), sizeof n);
    uint64_t bits = hash64(counter, id_seed_ + half);
    for (int i = 0; i < 16; ++i, bits >>= 4) id += kHex[bits & 15];
  }
  return id;
}

}  // namespace nibble::serving::http
