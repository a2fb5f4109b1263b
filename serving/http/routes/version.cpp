// GET /version.
#include <nlohmann/json.hpp>

#include "serving/http/service.h"

namespace nibble::serving::http {

void get_version(Service& service, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  HttpResponse response;
  response.body = dump_json(Json{{"version", service.options.version}});
  reply->send(std::move(response));
}

}  // namespace nibble::serving::http
