// Is it alive, is it ready? /livez fails when a restart would help, /readyz also while draining;
// /health is /readyz under the name that vLLM's users know.
#include "serving/http/service.h"

namespace nibble::serving::http {
namespace {

void say(const std::shared_ptr<Reply>& reply, int status, const char* word) {
  HttpResponse response;
  response.status = status;
  response.body = std::string("{\"status\":\"") + word + "\"}";
  reply->send(std::move(response));
}

}  // namespace

void get_livez(Service& service, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  if (!service.backend.healthy()) return say(reply, 503, "engine failed");
  say(reply, 200, "ok");
}

void get_readyz(Service& service, const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  if (service.draining()) return say(reply, 503, "draining");
  get_livez(service, request, reply);
}

void get_health(Service& service, const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  get_readyz(service, request, reply);
}

}  // namespace nibble::serving::http
