// Answers of OpenAI's API, key by key in the order of the wire.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "serving/http/openai.h"

namespace nibble::serving::http {
namespace {

constexpr double kNever = -9999.0;  // JSON has no -inf; clients know this one

// The shortest decimal of the float, not the digits of its double.
double wire(float logprob) {
  if (!std::isfinite(logprob)) return kNever;
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, logprob);
  double value = 0;
  std::from_chars(buffer, end.ptr, value);
  return value;
}

std::string replace_bad_utf8(const std::string& bytes) {
  return Json::parse(Json(bytes).dump(-1, ' ', false, Json::error_handler_t::replace))
      .get<std::string>();
}

// Tokens that are part of a character are spelled "bytes:\xe2\x80", as OpenAI's older API does.
std::string legacy_name(const std::string& bytes) {
  if (valid_utf8(bytes)) return bytes;
  static constexpr char kHex[] = "0123456789abcdef";
  std::string name = "bytes:";
  for (const char c : bytes) {
    const auto b = static_cast<unsigned char>(c);
    name += {'\\', 'x', kHex[b >> 4], kHex[b & 15]};
  }
  return name;
}

Json bytes_json(const std::string& bytes) {
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
}

int64_t characters(const std::string& bytes) {
  return std::count_if(bytes.begin(), bytes.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

Json chat_token(int32_t id, float logprob, const Backend& backend) {
  const std::string bytes = backend.token_bytes(id);
  return {{"token", valid_utf8(bytes) ? bytes : replace_bad_utf8(bytes)},
          {"logprob", wire(logprob)},
          {"bytes", bytes_json(bytes)}};
}

}  // namespace

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", 0}}}};
}

std::string answer_json(const Envelope& envelope, bool whole, Json choices, const Usage* usage,
                        const std::vector<int32_t>* prompt_ids) {
  const char* object = "text_completion";
  if (envelope.chat) object = whole ? "chat.completion" : "chat.completion.chunk";
  Json body = {{"id", envelope.id},
               {"object", object},
               {"created", envelope.created},
               {"model", envelope.model},
               {"choices", std::move(choices)}};
  if (usage != nullptr) body["usage"] = usage_json(*usage);
  if (prompt_ids != nullptr) body["prompt_token_ids"] = *prompt_ids;
  return dump_json(body);
}

Json completion_logprobs(const std::vector<TokenLogprob>& tokens, const Backend& backend,
                         int64_t& offset, bool from_start) {
  Json offsets = Json::array(), logprobs = Json::array(), names = Json::array(),
       tops = Json::array();
  for (const TokenLogprob& t : tokens) {
    const bool scored = !(from_start && offsets.empty());
    const std::string bytes = backend.token_bytes(t.token);
    offsets.push_back(offset);
    if (!backend.is_special(t.token)) offset += characters(bytes);
    names.push_back(legacy_name(bytes));
    if (!scored) {
      logprobs.push_back(nullptr);
      tops.push_back(nullptr);
      continue;
    }
    logprobs.push_back(wire(t.logprob));
    Json top = Json::object();
    for (const auto& [id, logprob] : t.top) {
      const std::string name = legacy_name(backend.token_bytes(id));
      if (!top.contains(name)) top[name] = wire(logprob);  // the likelier of equal spellings
    }
    const std::string name = legacy_name(bytes);
    if (!top.contains(name)) top[name] = wire(t.logprob);
    tops.push_back(std::move(top));
  }
  return {{"text_offset", std::move(offsets)},
          {"token_logprobs", std::move(logprobs)},
          {"tokens", std::move(names)},
          {"top_logprobs", std::move(tops)}};
}

Json chat_logprobs(const std::vector<TokenLogprob>& tokens, const Backend& backend) {
  Json content = Json::array();
  for (const TokenLogprob& t : tokens) {
    Json entry = chat_token(t.token, t.logprob, backend);
    Json top = Json::array();
    for (const auto& [id, logprob] : t.top) top.push_back(chat_token(id, logprob, backend));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}};
}

Json stop_reason_json(const Event& last, const SamplingParams& sampling) {
  if (last.finish != FinishReason::stop || last.stop_reason.empty()) return nullptr;
  const auto& stops = sampling.stop;
  if (std::find(stops.begin(), stops.end(), last.stop_reason) != stops.end())
    return last.stop_reason;
  for (const int32_t id : sampling.stop_token_ids)
    if (last.stop_reason == cat(id)) return id;
  return nullptr;  // the model's own end-of-sequence token is no reason of the client's
}

const char* finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    default:
      return "abort";
  }
}

}  // namespace nibble::serving::http
