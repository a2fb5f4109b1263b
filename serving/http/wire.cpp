#include "serving/http/wire.h"

#include <ctime>

#include "base/text.h"

namespace nibble::serving::http {
namespace {

const char* reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Payload Too Large";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Status";
  }
}

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[40];
  const size_t n = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text, n};
}

}  // namespace

std::string response_head(const HttpResponse& response, const Framing& framing) {
  std::string head = cat("HTTP/1.1 ", response.status, " ", reason(response.status),
                         "\r\nDate: ", http_date(), "\r\nContent-Type: ", response.content_type,
                         "\r\nX-Request-Id: ", framing.request_id, "\r\n");
  for (const auto& [name, value] : response.headers) head += cat(name, ": ", value, "\r\n");
  if (framing.chunked) head += "Transfer-Encoding: chunked\r\n";
  if (!framing.stream) head += cat("Content-Length: ", response.body.size(), "\r\n");
  if (!framing.keep_alive) head += "Connection: close\r\n";
  if (framing.keep_alive && framing.version < 11) head += "Connection: keep-alive\r\n";
  return head + "\r\n";
}

std::string chunk_of(std::string_view piece) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string size;
  for (size_t n = piece.size(); n > 0; n >>= 4) size.insert(size.begin(), kHex[n & 15]);
  return cat(size, "\r\n", piece, "\r\n");
}

std::string percent_decoded(std::string_view text) {
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 &&
        digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string safe_request_id(std::string_view id) {
  if (id.empty() || id.size() > 128) return "";
  for (const char c : id)
    if (c < '!' || c > '~') return "";
  return std::string(id);
}

}  // namespace nibble::serving::http
