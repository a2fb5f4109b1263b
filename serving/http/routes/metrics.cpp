// GET /metrics: Prometheus' text format.
#include "serving/http/service.h"

namespace nibble::serving::http {

void get_metrics(Service& service, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body =
      service.metrics.text(service.backend.stats(), service.backend.models().front().id);
  reply->send(std::move(response));
}

}  // namespace nibble::serving::http
