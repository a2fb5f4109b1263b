// The bodies of OpenAI's API as values: a request checked completely before anything is queued, and
// the pieces of the answers. Facts: docs/serving.md, the wire.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "serving/http/backend.h"
#include "serving/request.h"

namespace nibble::serving::http {

struct Limits {
  static constexpr int64_t kChoices = 16;      // n
  static constexpr int64_t kPrompts = 128;     // prompts of one request
  static constexpr int64_t kRequests = 256;    // n × prompts
  static constexpr int64_t kStops = 16;        // stop strings
  static constexpr int64_t kStopBytes = 4096;  // of one stop string
  static constexpr int64_t kStopIds = 64;
  static constexpr int64_t kLogprobs = 20;
  static constexpr int64_t kMessages = 4096;
};

struct Prompt {
  std::string text;  // as given, or decoded for echo
  std::vector<int32_t> ids;
};

// A request that may be queued: every number is in range, every prompt fits.
struct Generation {
  bool chat = false;
  ServedModel model;
  std::vector<Prompt> prompts;  // chat: one
  SamplingParams sampling;      // max_tokens is resolved for each prompt: see max_tokens_for
  std::optional<int64_t> max_tokens;
  int64_t n = 1;
  bool echo = false;
  bool stream = false, include_usage = false, continuous_usage = false;
  bool return_token_ids = false;
  std::set<std::string> unknown;  // fields nibble does not know: accepted, logged once

  int64_t max_tokens_for(const Prompt& prompt, int64_t context) const;
};

// Throw ApiError (400, 404). They tokenize and render: not for an IO thread.
Generation read_completion(const std::string& body, const Backend& backend);
Generation read_chat_completion(const std::string& body, const Backend& backend);

// Answers. Values are JSON texts' parts; the order of keys is the wire's.
struct Envelope {
  std::string id;
  int64_t created = 0;  // seconds since 1970
  std::string model;
  bool chat = false;
};
struct Usage {
  int64_t prompt_tokens = 0, completion_tokens = 0;
};
Json usage_json(const Usage& usage);
// One chunk of a stream or, with `whole`, a complete answer. Null usage, prompt_ids: left out.
std::string answer_json(const Envelope& envelope, bool whole, Json choices, const Usage* usage,
                        const std::vector<int32_t>* prompt_ids = nullptr);

// Logprobs of a list of tokens. Completions: the four parallel lists; `offset` is the place of the
// first token in the text and moves on (in characters); `from_start`: nothing predicts the first
// token, its logprob is null. Chat: content[].
Json completion_logprobs(const std::vector<TokenLogprob>& tokens, const Backend& backend,
                         int64_t& offset, bool from_start);
Json chat_logprobs(const std::vector<TokenLogprob>& tokens, const Backend& backend);
Json stop_reason_json(const Event& last, const SamplingParams& sampling);
const char* finish_name(FinishReason reason);

}  // namespace nibble::serving::http
