// One request and its life. Values only: HTTP threads make requests and read events, the engine
// thread owns everything in between.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nibble::serving {

struct SamplingParams {
  double temperature = 1;  // below 1e-5: greedy, ties to the lowest id
  int64_t top_k = 0;       // 0: off
  double top_p = 1;
  std::optional<uint64_t> seed;  // none: the engine draws one
  int64_t max_tokens = 16;
  int64_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;  // cut from the text unless include_stop
  bool include_stop = false;
  std::vector<int32_t> stop_token_ids;
  int logprobs = -1;  // how many alternatives to report with every token; -1: none
  bool prompt_logprobs = false;
};

enum class FinishReason : uint8_t { none, stop, length, cancelled, timed_out, failed };
const char* wire_name(FinishReason r);  // "stop", "length", "abort", …

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;
  std::vector<std::pair<int32_t, float>> top;  // best first
};

// What a step adds to one request's answer.
struct Event {
  uint64_t request = 0;
  std::string text;             // whole UTF-8 characters, stop strings held back
  std::vector<int32_t> tokens;  // new ids
  std::vector<TokenLogprob> logprobs;
  std::vector<TokenLogprob> prompt_logprobs;  // once, with the first event; entry 0 stands for none
  FinishReason finish = FinishReason::none;
  std::string stop_reason;                           // the stop string or token id that ended it
  std::string error;                                 // finish == failed
  int64_t prompt_tokens = 0, completion_tokens = 0;  // so far
};

struct Request {
  uint64_t id = 0;
  std::vector<int32_t> prompt;
  SamplingParams sampling;
  int adapter = -1;                       // slot; -1: the base
  int choice = 0;                         // index among n; part of the random numbers
  std::function<void(Event&&)> on_event;  // called on the engine thread; must not block
};

// Life of a request, as a table (request.cpp).
enum class State : uint8_t { queued, prefilling, decoding, preempted, finished };
bool may_move(State from, State to);
const char* name_of(State s);

// What submitting may answer. too_long: the prompt leaves no room for a token in the context.
enum class Admit : uint8_t { accepted, queue_full, too_long, draining };

}  // namespace nibble::serving
