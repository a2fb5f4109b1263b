#include "serving/http/answer.h"

#include <ctime>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "serving/http/sse.h"

namespace nibble::serving::http {
namespace {

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

struct Choice {
  uint64_t request = 0;
  size_t prompt = 0;   // index of its prompt
  bool begun = false;  // streams: something was sent; metrics: a token came
  bool done = false;
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<TokenLogprob> logprobs, prompt_logprobs;
  Event last;          // why it ended
  int64_t offset = 0;  // characters before the next token, for text_offset
  int64_t completion_tokens = 0;
  std::optional<Clock::time_point> last_token;
};

class Answer : public std::enable_shared_from_this<Answer> {
 public:
  Answer(Service& service, Generation generation, const HttpRequest& request,
         std::shared_ptr<Reply> reply)
      : service_(service),
        g_(std::move(generation)),
        received_(request.received),
        reply_(std::move(reply)) {
    envelope_ = {service.new_id(g_.chat ? "chatcmpl-" : "cmpl-"), std::time(nullptr), g_.model.id,
                 g_.chat};
    for (size_t p = 0; p < g_.prompts.size(); ++p) {
      for (int64_t k = 0; k < g_.n; ++k) {
        Choice choice;
        choice.prompt = p;
        choices_.push_back(std::move(choice));
      }
    }
  }

  void start();

 private:
  void submit(size_t index, Admit& admitted);
  void on_event(size_t index, Event&& event);
  void measure(Choice& choice, const Event& event);
  void collect(Choice& choice, Event&& event);
  void stream(size_t index, Event&& event);
  void stream_completion(size_t index, Event&& event);
  void stream_chat(size_t index, Event&& event);
  void chunk(Json choice, const std::vector<int32_t>* prompt_ids = nullptr);
  Json whole_choice(size_t index);
  Json completion_logprobs_of(Choice& choice, const std::vector<TokenLogprob>& scored,
                              const std::vector<TokenLogprob>& prompt);
  Usage usage() const;
  void complete();
  void fail(const ApiError& error);
  void release();

  Service& service_;
  const Generation g_;
  const Clock::time_point received_;
  const std::shared_ptr<Reply> reply_;
  Envelope envelope_;
  std::vector<Choice> choices_;
  size_t unfinished_ = 0;
  bool over_ = false;  // answered, or nobody listens: later events are nobody's
};

// On the strand, as all that follows: no lock guards an answer.
void Answer::start() {
  unfinished_ = choices_.size();
  reply_->watch([self = shared_from_this()] { self->release(); },
                [self = shared_from_this()] {
                  self->fail({503, "server_draining", "the server is shutting down"});
                });
  for (size_t i = 0; i < choices_.size() && !over_; ++i) {
    Admit admitted = Admit::accepted;
    submit(i, admitted);
    switch (admitted) {
      case Admit::accepted:
        break;
      case Admit::queue_full:
        return fail({429, "queue_full", "too many requests wait: try again later"});
      case Admit::draining:
        return fail({503, "server_draining", "the server is shutting down: ask another one"});
      case Admit::too_long:
        return fail({400, "context_length_exceeded", "the prompt leaves no room for an answer"});
    }
  }
  if (!over_ && g_.stream) reply_->begin_stream(sse_head());
}

void Answer::submit(size_t index, Admit& admitted) {
  Choice& choice = choices_[index];
  const Prompt& prompt = g_.prompts[choice.prompt];
  Request request;
  request.id = service_.next_request();
  request.prompt = prompt.ids;
  request.sampling = g_.sampling;
  request.sampling.max_tokens = g_.max_tokens_for(prompt, service_.backend.max_context());
  request.adapter = g_.model.adapter;
  request.choice = static_cast<int>(static_cast<int64_t>(index) % g_.n);
  // The connection keeps the answer; what the engine says to one that is gone is lost.
  request.on_event = [answer = weak_from_this(), index](Event&& event) {
    const std::shared_ptr<Answer> self = answer.lock();
    if (!self) return;
    self->reply_->post([self, index, event = std::move(event)]() mutable {
      self->on_event(index, std::move(event));
    });
  };
  const uint64_t id = request.id;
  admitted = service_.backend.submit(std::move(request));
  if (admitted == Admit::accepted) choice.request = id;
}

void Answer::on_event(size_t index, Event&& event) {
  Choice& choice = choices_[index];
  if (over_ || choice.done) return;
  if (event.finish == FinishReason::failed) {
    choice.done = true;
    return fail({500, "engine_error", cat("the engine could not finish: ", event.error)});
  }
  if (event.finish == FinishReason::cancelled || event.finish == FinishReason::timed_out) {
    choice.done = true;
    return event.finish == FinishReason::timed_out
               ? fail({504, "timeout", "the request took too long"})
               : fail({503, "server_draining", "the server is shutting down"});
  }
  measure(choice, event);
  choice.completion_tokens += static_cast<int64_t>(event.tokens.size());
  if (event.finish != FinishReason::none) {
    choice.done = true;
    --unfinished_;
    choice.last.finish = event.finish;
    choice.last.stop_reason = event.stop_reason;
  }
  if (g_.stream) {
    stream(index, std::move(event));
  } else {
    collect(choice, std::move(event));
  }
  if (unfinished_ == 0) complete();
}

void Answer::measure(Choice& choice, const Event& event) {
  if (event.tokens.empty()) return;
  const Clock::time_point now = Clock::now();
  if (choice.last_token) {
    service_.metrics.tokens_after(seconds(now - *choice.last_token),
                                  static_cast<int64_t>(event.tokens.size()));
  } else {
    service_.metrics.first_token(seconds(now - received_));
  }
  choice.last_token = now;
}

void Answer::collect(Choice& choice, Event&& event) {
  choice.text += event.text;
  choice.tokens.insert(choice.tokens.end(), event.tokens.begin(), event.tokens.end());
  for (TokenLogprob& t : event.logprobs) choice.logprobs.push_back(std::move(t));
  for (TokenLogprob& t : event.prompt_logprobs) choice.prompt_logprobs.push_back(std::move(t));
}

Json Answer::completion_logprobs_of(Choice& choice, const std::vector<TokenLogprob>& scored,
                                    const std::vector<TokenLogprob>& prompt) {
  if (g_.sampling.logprobs < 0) return nullptr;
  if (prompt.empty()) return completion_logprobs(scored, service_.backend, choice.offset, false);
  std::vector<TokenLogprob> all = prompt;
  all.insert(all.end(), scored.begin(), scored.end());
  return completion_logprobs(all, service_.backend, choice.offset, true);
}

void Answer::chunk(Json choice, const std::vector<int32_t>* prompt_ids) {
  const Usage so_far = usage();
  Json list = Json::array();
  list.push_back(std::move(choice));
  reply_->write(sse_frame(answer_json(envelope_, false, std::move(list),
                                      g_.continuous_usage ? &so_far : nullptr, prompt_ids)));
}

void Answer::stream(size_t index, Event&& event) {
  if (g_.chat) {
    stream_chat(index, std::move(event));
  } else {
    stream_completion(index, std::move(event));
  }
}

void Answer::stream_completion(size_t index, Event&& event) {
  Choice& choice = choices_[index];
  const Prompt& prompt = g_.prompts[choice.prompt];
  const bool first = !choice.begun;
  const bool last = event.finish != FinishReason::none;
  const bool shows_tokens = g_.return_token_ids || g_.sampling.logprobs >= 0;
  std::string text = std::move(event.text);
  if (first && g_.echo) text = prompt.text + text;
  // What a stop string may still swallow, and chunks of a long prompt, are not worth a frame.
  if (text.empty() && !last && !(shows_tokens && !event.tokens.empty())) return;
  choice.begun = true;
  Json body = {{"index", index},
               {"text", std::move(text)},
               {"logprobs", completion_logprobs_of(choice, event.logprobs, event.prompt_logprobs)},
               {"finish_reason", last ? Json(finish_name(event.finish)) : Json(nullptr)},
               {"stop_reason", last ? stop_reason_json(event, g_.sampling) : Json(nullptr)}};
  if (g_.return_token_ids) {
    if (first) body["prompt_token_ids"] = prompt.ids;
    body["token_ids"] = event.tokens;
  }
  chunk(std::move(body));
}

void Answer::stream_chat(size_t index, Event&& event) {
  Choice& choice = choices_[index];
  auto delta = [&](Json content, Json logprobs) {
    return Json{{"index", index},
                {"delta", std::move(content)},
                {"logprobs", std::move(logprobs)},
                {"finish_reason", nullptr}};
  };
  // Not before the first event: clients take the first chunk's time for the first token's.
  if (!choice.begun) {
    choice.begun = true;
    chunk(delta({{"role", "assistant"}, {"content", ""}}, nullptr),
          g_.return_token_ids ? &g_.prompts[0].ids : nullptr);
  }
  const bool shows_tokens = g_.return_token_ids || g_.sampling.logprobs >= 0;
  if (!event.text.empty() || (shows_tokens && !event.tokens.empty())) {
    Json logprobs;
    if (g_.sampling.logprobs >= 0) logprobs = chat_logprobs(event.logprobs, service_.backend);
    Json body = delta({{"content", event.text}}, std::move(logprobs));
    if (g_.return_token_ids) body["token_ids"] = event.tokens;
    chunk(std::move(body));
  }
  if (event.finish == FinishReason::none) return;
  Json body = delta(Json::object(), nullptr);
  body["finish_reason"] = finish_name(event.finish);
  body["stop_reason"] = stop_reason_json(event, g_.sampling);
  chunk(std::move(body));
}

Json Answer::whole_choice(size_t index) {
  Choice& choice = choices_[index];
  const Prompt& prompt = g_.prompts[choice.prompt];
  Json body;
  body["index"] = index;
  if (g_.chat) {
    body["message"] = {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}};
    body["logprobs"] = g_.sampling.logprobs >= 0 ? chat_logprobs(choice.logprobs, service_.backend)
                                                 : Json(nullptr);
  } else {
    body["text"] = g_.echo ? prompt.text + choice.text : choice.text;
    body["logprobs"] = completion_logprobs_of(choice, choice.logprobs, choice.prompt_logprobs);
  }
  body["finish_reason"] = finish_name(choice.last.finish);
  body["stop_reason"] = stop_reason_json(choice.last, g_.sampling);
  if (g_.return_token_ids) {
    if (!g_.chat) body["prompt_token_ids"] = prompt.ids;
    body["token_ids"] = choice.tokens;
  }
  return body;
}

// A prompt counts once, however many choices it has.
Usage Answer::usage() const {
  Usage usage;
  for (const Prompt& prompt : g_.prompts)
    usage.prompt_tokens += static_cast<int64_t>(prompt.ids.size());
  for (const Choice& choice : choices_) usage.completion_tokens += choice.completion_tokens;
  return usage;
}

void Answer::complete() {
  over_ = true;
  service_.metrics.finished(seconds(Clock::now() - received_));
  const Usage all = usage();
  if (g_.stream) {
    if (g_.include_usage)
      reply_->write(sse_frame(answer_json(envelope_, false, Json::array(), &all)));
    reply_->write(std::string(kSseDone));
    return reply_->end_stream();
  }
  Json list = Json::array();
  for (size_t i = 0; i < choices_.size(); ++i) list.push_back(whole_choice(i));
  const bool ids = g_.chat && g_.return_token_ids;
  HttpResponse response;
  response.body =
      answer_json(envelope_, true, std::move(list), &all, ids ? &g_.prompts[0].ids : nullptr);
  reply_->send(std::move(response));
}

// Everything still in the engine is given up; nothing more is said.
void Answer::release() {
  if (over_) return;
  over_ = true;
  for (const Choice& choice : choices_)
    if (!choice.done && choice.request != 0) service_.backend.cancel(choice.request);
}

void Answer::fail(const ApiError& error) {
  if (over_) return;
  release();
  bool streaming = g_.stream;
  for (const Choice& choice : choices_) streaming = streaming && choice.request != 0;
  if (!streaming) return reply_->send(error_response(error));
  reply_->write(sse_frame(error_body(error)));
  reply_->write(std::string(kSseDone));
  reply_->end_stream();
}

}  // namespace

void begin_answer(Service& service, Generation generation, const HttpRequest& request,
                  const std::shared_ptr<Reply>& reply) {
  service.log_unknown(generation.unknown);
  auto answer = std::make_shared<Answer>(service, std::move(generation), request, reply);
  reply->post([answer] { answer->start(); });
}

}  // namespace nibble::serving::http
