#include "serving/http/openai_sampling.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "serving/http/api_error.h"

namespace nibble::serving::http {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

enum class In : uint8_t { both, chat, completion };

struct Neutral {
  const char* name;
  In where;
  const char* value;  // JSON that changes nothing; "" when only null does
  const char* what;   // "… not supported yet"
};

constexpr Neutral kNeutral[] = {
    {"presence_penalty", In::both, "0", "penalties are"},
    {"frequency_penalty", In::both, "0", "penalties are"},
    {"repetition_penalty", In::both, "1", "penalties are"},
    {"min_p", In::both, "0", "min_p is"},
    {"typical_p", In::both, "1", "typical_p is"},
    {"length_penalty", In::both, "1", "length_penalty is"},
    {"use_beam_search", In::both, "false", "beam search is"},
    {"best_of", In::both, "1", "best_of is"},
    {"logit_bias", In::both, "{}", "logit_bias is"},
    {"bad_words", In::both, "[]", "bad_words is"},
    {"allowed_token_ids", In::both, "", "allowed_token_ids is"},
    {"logprob_token_ids", In::both, "", "logprob_token_ids is"},
    {"prompt_logprobs", In::both, "", "prompt_logprobs is (echo with logprobs gives them)"},
    {"prompt_embeds", In::both, "", "prompt_embeds is"},
    {"truncate_prompt_tokens", In::both, "", "truncate_prompt_tokens is"},
    {"skip_special_tokens", In::both, "true", "skip_special_tokens: false is"},
    {"spaces_between_special_tokens", In::both, "true", "spaces_between_special_tokens is"},
    {"response_format", In::both, R"({"type":"text"})", "structured output is"},
    {"structured_outputs", In::both, "", "structured output is"},
    {"guided_json", In::both, "", "structured output is"},
    {"guided_regex", In::both, "", "structured output is"},
    {"guided_choice", In::both, "", "structured output is"},
    {"guided_grammar", In::both, "", "structured output is"},
    {"grammar", In::both, "", "structured output is"},
    {"json_schema", In::both, "", "structured output is"},
    {"logits_processors", In::both, "", "logits_processors is"},
    {"kv_transfer_params", In::both, "", "kv_transfer_params is"},
    {"priority", In::both, "0", "priority is"},
    {"suffix", In::completion, R"("")", "suffix is"},
    {"echo", In::chat, "false", "echo in chat is"},
    {"functions", In::chat, "", "function calling is"},
    {"function_call", In::chat, R"("none")", "function calling is"},
    {"documents", In::chat, "", "documents is"},
    {"mm_processor_kwargs", In::chat, "", "mm_processor_kwargs is"},
    {"audio", In::chat, "", "audio is"},
    {"modalities", In::chat, R"(["text"])", "any modality but text is"},
    {"prediction", In::chat, "", "prediction is"},
    {"web_search_options", In::chat, "", "web search is"},
};

std::vector<std::string> read_stops(Fields& fields, const Backend& backend) {
  const Json* value = fields.find("stop");
  std::vector<std::string> stops;
  if (value == nullptr) return stops;
  auto add = [&](const Json& item, const std::string& path) {
    if (!item.is_string()) throw invalid(path, cat(path, " must be a string"));
    stops.push_back(item.get<std::string>());
    if (stops.back().empty()) throw invalid(path, cat(path, " must not be empty"));
    if (stops.back().size() > static_cast<size_t>(Limits::kStopBytes))
      throw invalid(path, cat(path, " may hold at most ", Limits::kStopBytes, " bytes"));
  };
  if (value->is_array()) {
    if (value->size() > static_cast<size_t>(Limits::kStops))
      throw invalid("stop", cat("stop may hold at most ", Limits::kStops, " strings"));
    for (const Json& item : *value) add(item, cat("stop[", stops.size(), "]"));
  } else if (value->is_string()) {
    add(*value, "stop");
  } else {
    throw invalid("stop", "stop must be a string or a list of strings");
  }
  if (!stops.empty() && !backend.has_tokenizer())
    throw invalid("stop", "this model has no tokenizer: use stop_token_ids");
  return stops;
}

}  // namespace

const ServedModel& find_model(Fields& fields, const Backend& backend) {
  const std::optional<std::string> name = fields.text("model");
  if (!name) throw invalid("model", "model is missing: GET /v1/models lists the names");
  for (const ServedModel& model : backend.models())
    if (model.id == *name) return model;
  throw ApiError(404, "model_not_found",
                 "The model does not exist: GET /v1/models lists those that do", "model");
}

void read_sampling(Fields& fields, const Backend& backend, Generation& out) {
  SamplingParams& s = out.sampling;
  s.temperature = fields.number("temperature", {0, kInfinity}).value_or(1);
  s.top_p = fields.number("top_p", {0, 1, true}).value_or(1);
  s.top_k = std::max<int64_t>(fields.integer("top_k", -1, kMax).value_or(0), 0);
  if (const auto seed = fields.integer("seed", kMin, kMax)) s.seed = static_cast<uint64_t>(*seed);
  s.stop = read_stops(fields, backend);
  s.include_stop = fields.boolean("include_stop_str_in_output").value_or(false);
  s.stop_token_ids = fields.ids("stop_token_ids", backend.vocab(), Limits::kStopIds);
  s.min_tokens = fields.integer("min_tokens", 0, kMax).value_or(0);
  s.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  out.n = fields.integer("n", 1, Limits::kChoices).value_or(1);
  if (out.n > 1 && s.temperature < 1e-5)
    throw invalid("n", "n must be 1 when temperature is 0: all choices would be the same");
  out.return_token_ids =
      fields.boolean("return_token_ids").value_or(false) || !backend.has_tokenizer();
  fields.text("user");
  fields.text("request_id");
}

void read_streaming(Fields& fields, Generation& out) {
  out.stream = fields.boolean("stream").value_or(false);
  const Json* options = fields.find("stream_options");
  if (options == nullptr) return;
  if (!out.stream)
    throw invalid("stream_options", "stream_options may be given only with stream: true");
  Fields inner(*options, "stream_options");
  out.include_usage = inner.boolean("include_usage").value_or(false);
  const bool each = inner.boolean("continuous_usage_stats").value_or(false);
  out.continuous_usage = out.include_usage && each;
}

void refuse_unsupported(Fields& fields, bool chat) {
  for (const Neutral& row : kNeutral) {
    if (row.where != In::both && (row.where == In::chat) != chat) continue;
    const Json* value = fields.find(row.name);
    if (value == nullptr) continue;
    if (*row.value != 0 && *value == Json::parse(row.value)) continue;
    throw not_yet(row.name, row.what);
  }
}

void check_lengths(const Generation& g, const Backend& backend, const std::string& param,
                   const std::string& max_tokens_param) {
  const int64_t context = backend.max_context();
  for (const Prompt& prompt : g.prompts) {
    const auto used = static_cast<int64_t>(prompt.ids.size());
    auto too_long = [&](const std::string& at, const std::string& message) {
      ApiError error(400, "context_length_exceeded", message, at);
      error.prompt_tokens = used;
      error.context = context;
      throw error;
    };
    if (used == 0) throw invalid(param, cat(param, " must not be empty"));
    if (used >= context)
      too_long(param, cat("This model's maximum context length is ", context,
                          " tokens. However, the prompt holds ", used,
                          " tokens, which leaves no room for an answer. Please shorten it."));
    if (g.max_tokens && *g.max_tokens > context - used)
      too_long(max_tokens_param,
               cat("This model's maximum context length is ", context,
                   " tokens. However, you requested ", used, " + ", *g.max_tokens, " tokens (",
                   used, " in the prompt, ", *g.max_tokens, " in the completion)."));
  }
  if (g.max_tokens && g.sampling.min_tokens > *g.max_tokens)
    throw invalid("min_tokens", cat("min_tokens must be at most ", max_tokens_param));
}

int64_t Generation::max_tokens_for(const Prompt& prompt, int64_t context) const {
  const int64_t rest = context - static_cast<int64_t>(prompt.ids.size());
  if (max_tokens) return std::min(*max_tokens, rest);
  return chat ? rest : std::min<int64_t>(16, rest);
}

}  // namespace nibble::serving::http
