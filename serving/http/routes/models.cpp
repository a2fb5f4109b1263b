// GET /v1/models and /v1/models/{id}: the base and its adapters, no paths.
#include <nlohmann/json.hpp>

#include "serving/http/service.h"

namespace nibble::serving::http {
namespace {

Json model_json(const ServedModel& model, const Service& service) {
  return {{"id", model.id},
          {"object", "model"},
          {"created", service.created},
          {"owned_by", "nibble"},
          {"root", model.id},
          {"parent", model.parent.empty() ? Json(nullptr) : Json(model.parent)},
          {"max_model_len", service.backend.max_context()},
          {"permission", Json::array()}};
}

}  // namespace

void list_models(Service& service, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  Json data = Json::array();
  for (const ServedModel& model : service.backend.models())
    data.push_back(model_json(model, service));
  HttpResponse response;
  response.body = dump_json(Json{{"object", "list"}, {"data", std::move(data)}});
  reply->send(std::move(response));
}

void get_model(Service& service, const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const std::string_view id = std::string_view(request.path).substr(sizeof "/v1/models/" - 1);
  for (const ServedModel& model : service.backend.models()) {
    if (model.id != id) continue;
    HttpResponse response;
    response.body = dump_json(model_json(model, service));
    return reply->send(std::move(response));
  }
  throw ApiError(404, "model_not_found",
                 "The model does not exist: GET /v1/models lists those that do", "model");
}

}  // namespace nibble::serving::http
