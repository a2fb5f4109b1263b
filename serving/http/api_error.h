// Errors as OpenAI clients read them: {"error":{"message","type","param","code"}} with string
// codes. Messages name the field and the rule; they never repeat what the client sent.
#pragma once

#include <exception>
#include <optional>
#include <string>

#include "base/json.h"
#include "serving/http/message.h"

namespace nibble::serving::http {

class ApiError : public std::exception {
 public:
  // param: JSON path of the field at fault, empty for none.
  ApiError(int status, std::string code, std::string message, std::string param = "");
  const char* what() const noexcept override { return message.c_str(); }

  int status;
  std::string code, message, param;
  std::optional<int64_t> prompt_tokens, context;  // context_length_exceeded only
  std::string allow;                              // 405 only: the methods there are
};

ApiError invalid(std::string param, std::string message);  // 400 invalid_request_error
ApiError not_yet(std::string param, std::string what);     // 400 not_supported_yet

std::string error_type(int status);
std::string error_body(const ApiError& error);
HttpResponse error_response(const ApiError& error);

}  // namespace nibble::serving::http
