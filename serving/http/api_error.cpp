#include "serving/http/api_error.h"

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace nibble::serving::http {

ApiError::ApiError(int status_, std::string code_, std::string message_, std::string param_)
    : status(status_),
      code(std::move(code_)),
      message(std::move(message_)),
      param(std::move(param_)) {}

ApiError invalid(std::string param, std::string message) {
  return {400, "invalid_request_error", std::move(message), std::move(param)};
}

ApiError not_yet(std::string param, std::string what) {
  return {400, "not_supported_yet", cat(what, " not supported yet"), std::move(param)};
}

std::string error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

std::string error_body(const ApiError& error) {
  Json inner = {{"message", error.message}, {"type", error_type(error.status)}};
  inner["param"] = error.param.empty() ? Json(nullptr) : Json(error.param);
  inner["code"] = error.code;
  if (error.prompt_tokens) inner["n_prompt_tokens"] = *error.prompt_tokens;
  if (error.context) inner["n_ctx"] = *error.context;
  return dump_json(Json{{"error", inner}});
}

HttpResponse error_response(const ApiError& error) {
  HttpResponse response;
  response.status = error.status;
  response.body = error_body(error);
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (error.status == 429 || error.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (!error.allow.empty()) response.headers.emplace_back("Allow", error.allow);
  response.close = error.code == "server_draining";
  return response;
}

}  // namespace nibble::serving::http
