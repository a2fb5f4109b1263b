// nibble chat: a conversation in the terminal, through the same engine, template and tokenizer as
// the server's. One line is one message, from a person or a pipe.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/event_queue.h"
#include "cli/model_flags.h"
#include "model/text/tokenizer_chat.h"
#include "model/text/tokenizer_fit.h"
#include "serving/engine.h"

namespace nibble {
namespace {

using serving::Admit;
using serving::Engine;
using serving::EngineOptions;
using serving::Event;
using serving::FinishReason;
using serving::Request;
using serving::SamplingParams;

struct Options {
  ModelFlags model;
  std::string system;
  int64_t max_tokens = 0, top_k = 0, context = 0;
  double temperature = 0, top_p = 1;
  std::optional<int64_t> seed;
};

bool read_options(const std::vector<std::string>& arguments, Options& o) {
  CommandLine line("chat", "talk with a model in the terminal", "DIR [options]");
  o.model.declare(line);
  Settings& f = line.flags();
  f.heading("Conversation");
  f.field("system", o.system, "a system message before all others").placeholder("TEXT");
  f.field("context", o.context, "tokens of the conversation; 0: the model's limit, at most 4,096")
      .range(at_least(0));
  f.heading("Generation");
  f.field("max_tokens", o.max_tokens, "of an answer; 0: as many as the context holds")
      .range(at_least(0));
  f.field("temperature", o.temperature, "0: the likeliest token").range(between(0, 100));
  f.field("top_k", o.top_k, "draw among the k likeliest; 0: all").range(at_least(0));
  f.field("top_p", o.top_p, "draw among the likeliest that together reach p")
      .range({0, 1, true, false});
  f.field("seed", o.seed, "the same seed gives the same answers").range(at_least(0));
  line.note(
      "A line is a message, Ctrl-D ends. Standard input may be a pipe; answers go to standard "
      "output, all else to standard error.");
  line.example("nibble chat out/run1");
  line.example("nibble chat model/ --adapter out/run1 --temperature 0.7");
  return line.parse(arguments);
}

class Conversation {
 public:
  Conversation(const Options& options, const Device& device)
      : options_(options),
        model_(std::make_shared<Model>(options.model.load(device))),
        tokenizer_(load_fitting_tokenizer(model_->tokenizer_directory,
                                          model_->decoder->blueprint().vocab)),
        template_(chat_template_of(*tokenizer_, options.model.resolve().template_folder())),
        engine_(device, model_, tokenizer_, engine_options(options, *model_)),
        messages_(Json::array()) {
    if (!options_.system.empty())
      messages_.push_back({{"role", "system"}, {"content", options_.system}});
    fixed_ = messages_.size();
    engine_.start();
  }

  void say(const std::string& text) {
    messages_.push_back({{"role", "user"}, {"content", text}});
    std::vector<int32_t> ids = encode();
    // The oldest turns are forgotten when the conversation outgrows the context.
    while (static_cast<int64_t>(ids.size()) >= engine_.max_context() && turns() > 1) {
      messages_.erase(fixed_);
      while (turns() > 1 && messages_[fixed_]["role"] != "user") messages_.erase(fixed_);
      log::warning("the conversation outgrew the context: its oldest turn is forgotten");
      ids = encode();
    }
    if (static_cast<int64_t>(ids.size()) >= engine_.max_context()) {
      log::warning(cat("the message has ", ids.size(), " tokens, the context holds ",
                       engine_.max_context(), ": say it shorter"));
      messages_.erase(messages_.size() - 1);
      return;
    }
    messages_.push_back({{"role", "assistant"}, {"content", answer(std::move(ids))}});
  }

 private:
  static EngineOptions engine_options(const Options& o, const Model& model) {
    EngineOptions options;
    const int64_t limit = model.decoder->blueprint().max_positions;
    options.max_context = o.context > 0 ? o.context : std::min<int64_t>(limit, 4096);
    options.max_sequences = 1;
    return options;
  }

  size_t turns() const { return messages_.size() - fixed_; }

  // The template writes BOS itself.
  std::vector<int32_t> encode() const {
    return tokenizer_->encode(template_.render(messages_, true),
                              {.add_special_tokens = false, .parse_special = true});
  }

  std::string answer(std::vector<int32_t> ids) {
    Request request;
    request.id = next_++;
    SamplingParams& s = request.sampling;
    s.temperature = options_.temperature;
    s.top_k = options_.top_k;
    s.top_p = options_.top_p;
    if (options_.seed) s.seed = static_cast<uint64_t>(*options_.seed);
    const int64_t room = engine_.max_context() - static_cast<int64_t>(ids.size());
    s.max_tokens = options_.max_tokens > 0 ? std::min(options_.max_tokens, room) : room;
    // A model without a template of its own is asked in ChatML; its end of turn may be plain text.
    if (template_.name() == "chatml") {
      const auto end = tokenizer_->id_of("<|im_end|>");
      end ? s.stop_token_ids.push_back(*end) : s.stop.push_back("<|im_end|>");
    }
    request.prompt = std::move(ids);
    request.adapter = 0;
    request.on_event = [this](Event&& e) { events_.push(std::move(e)); };
    check(engine_.submit(std::move(request)) == Admit::accepted, "chat: a message was refused");
    std::string text;
    for (;;) {
      const Event e = events_.wait();
      text += e.text;
      std::fputs(e.text.c_str(), stdout);
      std::fflush(stdout);
      if (e.finish == FinishReason::failed) throw Bug(e.error);
      if (e.finish != FinishReason::none) break;
    }
    std::fputs("\n", stdout);
    std::fflush(stdout);
    return text;
  }

  const Options& options_;
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  ChatTemplate template_;
  EventQueue events_;
  Engine engine_;
  Json messages_;
  size_t fixed_ = 0;
  uint64_t next_ = 1;
};

}  // namespace

int run_chat(const std::vector<std::string>& arguments) {
  Options o;
  if (!read_options(arguments, o)) return 0;
  const Device device = o.model.device();
  Conversation conversation(o, device);
  const bool person = ::isatty(STDIN_FILENO) == 1;
  if (person) log::row("chat", "a line is a message, Ctrl-D ends");
  std::string line;
  for (;;) {
    if (person) std::fputs("> ", stderr);
    if (!std::getline(std::cin, line)) break;
    if (trim(line).empty()) continue;
    conversation.say(line);
  }
  if (person) std::fputs("\n", stderr);
  return 0;
}

}  // namespace nibble
