// What the server offers: the table of routes, who may call them, and what all routes share.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "serving/http/api_error.h"
#include "serving/http/backend.h"
#include "serving/http/message.h"
#include "serving/http/metrics.h"
#include "serving/http/sha256.h"

namespace nibble::serving::http {

struct ServiceOptions {
  std::string version;
  std::vector<std::string> api_keys;  // none: no key is asked for
  bool loopback = true;               // then Host must name this machine
};

class Service;
using Handler = void (*)(Service&, const HttpRequest&, const std::shared_ptr<Reply>&);

struct Route {
  const char* method;
  const char* path;  // "{id}" at the end takes the rest
  bool open;         // no key needed
  bool heavy;        // tokenizes: runs on a worker, takes a JSON body, refused while draining
  Handler handle;
};

class Service {
 public:
  Service(Backend& backend, ServiceOptions options);

  // Everything that can be said from the head alone; throws ApiError. The route when all is well.
  const Route& admit(const HttpRequest& head) const;
  void handle(const Route& route, const HttpRequest& request, const std::shared_ptr<Reply>& reply);
  // Names for the metrics, from a closed set.
  static std::string handler_name(const std::string& path);
  static std::string method_name(const std::string& method);

  void set_draining() { draining_ = true; }
  bool draining() const { return draining_; }
  void log_unknown(const std::set<std::string>& names);  // each once
  std::string new_id(const char* prefix);                // "cmpl-3f…"
  uint64_t next_request() { return ++last_request_; }

  Backend& backend;
  Metrics metrics;
  const ServiceOptions options;
  const int64_t created;  // when the server began, seconds since 1970

 private:
  bool known_key(const std::string& authorization) const;

  std::vector<Digest> keys_;
  std::atomic<bool> draining_{false};
  std::atomic<uint64_t> last_request_{0}, last_id_{0};
  const uint64_t id_seed_;
  std::mutex unknown_mutex_;
  std::set<std::string> unknown_;
};

#define ROUTE(method, path, access, work, handler) \
  void handler(Service& service, const HttpRequest& request, const std::shared_ptr<Reply>& reply);
#define LATER(path, what)
#include "serving/http/routes.def"
#undef ROUTE
#undef LATER

}  // namespace nibble::serving::http
