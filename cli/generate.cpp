// nibble generate: continue token ids or a text, all prompts of a file together through the engine
// that serves.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "cli/command_line.h"
#include "cli/event_queue.h"
#include "cli/model_flags.h"
#include "model/text/tokenizer.h"
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
  std::string tokens, prompt;
  int64_t max_tokens = 128, top_k = 0, seed = 0;
  double temperature = 0, top_p = 1;
  bool ignore_eos = false, json = false, has_prompt = false;
};

bool read_options(const std::vector<std::string>& arguments, Options& o) {
  CommandLine line("generate", "continue prompts or token ids",
                   "MODEL (--tokens ids.json | --prompt TEXT) --max-tokens N [options]");
  o.model.declare(line);
  Settings& f = line.flags();
  f.heading("Prompt");
  f.field("tokens", o.tokens, "a JSON list of lists of token ids; end tokens do not stop it")
      .placeholder("FILE");
  f.field("prompt", o.prompt, "a text; stops at an end token").placeholder("TEXT");
  f.heading("Generation");
  f.field("max_tokens", o.max_tokens, "new tokens of each prompt").range(at_least(1));
  f.field("temperature", o.temperature, "0: the likeliest token, ties to the lowest id")
      .range(between(0, 100));
  f.field("top_k", o.top_k, "draw among the k likeliest; 0: all").range(at_least(0));
  f.field("top_p", o.top_p, "draw among the likeliest that together reach p")
      .range({0, 1, true, false});
  f.field("seed", o.seed, "the same seed gives the same tokens").range(at_least(0));
  f.field("ignore_eos", o.ignore_eos, "go on after an end token");
  f.heading("Output");
  f.field("json", o.json, "one JSON object: ids, the new ids of each prompt; text with --prompt");
  line.note(
      "With --tokens it is ids in, ids out: exactly --max-tokens new ids for every list, or as "
      "many "
      "as the context holds; without --json one line of ids for each. With --prompt the text is "
      "written as it comes.");
  line.example("nibble generate model/ --prompt \"Once upon a time\" --max-tokens 100");
  line.example("nibble generate model/ --tokens ids.json --max-tokens 32 --dtype f32 --json");
  if (!line.parse(arguments)) return false;
  o.has_prompt = f.given("prompt");
  if (o.has_prompt == f.given("tokens"))
    throw UserError("command line", "needs one of --tokens and --prompt",
                    "nibble generate MODEL --prompt TEXT --max-tokens N");
  return true;
}

std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids = tokenizer.encode(text);
  // A tokenizer that closes texts would have the model continue after the end.
  if (tokenizer.adds_eos() && !ids.empty() && ids.back() == tokenizer.eos()) ids.pop_back();
  return ids;
}

EngineOptions engine_options(const Options& o, const Blueprint& b,
                             const std::vector<std::vector<int32_t>>& prompts) {
  EngineOptions options;
  int64_t longest = 0, all = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto n = static_cast<int64_t>(prompts[i].size());
    const std::string where = o.has_prompt ? "--prompt" : o.tokens;
    if (n == 0)
      throw UserError(where, cat("prompt ", i, " is empty"), "give at least one token",
                      Exit::bad_data);
    if (n >= b.max_positions)
      throw UserError(where,
                      cat("prompt ", i, " has ", n, " tokens, the model's context holds ",
                          b.max_positions, ", the new ones included"),
                      "shorten it", Exit::bad_data);
    longest = std::max(longest, n);
    all += n;
  }
  // No more cache than these prompts can use.
  options.max_context =
      std::min(b.max_positions, longest + std::min(o.max_tokens, b.max_positions));
  const auto count = static_cast<int64_t>(prompts.size());
  options.max_sequences = std::clamp<int64_t>(count, 1, options.max_sequences);
  options.max_queued_requests = std::max<int64_t>(1, count);
  options.max_queued_tokens = std::max<int64_t>(1, all);
  return options;
}

struct Answer {
  std::vector<int32_t> ids;
  std::string text;
};

std::vector<Answer> answer_all(Engine& engine, EventQueue& events, const Options& o,
                               std::vector<std::vector<int32_t>> prompts) {
  std::vector<Answer> answers(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    Request request;
    request.id = i;
    request.prompt = std::move(prompts[i]);
    SamplingParams& s = request.sampling;
    s.temperature = o.temperature;
    s.top_k = o.top_k;
    s.top_p = o.top_p;
    s.seed = static_cast<uint64_t>(o.seed);
    s.max_tokens = o.max_tokens;
    s.ignore_eos = o.ignore_eos || !o.has_prompt;
    request.adapter = 0;
    request.on_event = [&events](Event&& e) { events.push(std::move(e)); };
    check(engine.submit(std::move(request)) == Admit::accepted, "generate: a prompt was refused");
  }
  engine.start();
  for (size_t left = answers.size(); left > 0;) {
    Event e = events.wait();
    Answer& answer = answers[e.request];
    answer.ids.insert(answer.ids.end(), e.tokens.begin(), e.tokens.end());
    answer.text += e.text;
    if (o.has_prompt && !o.json) {
      std::fputs(e.text.c_str(), stdout);
      std::fflush(stdout);
    }
    if (e.finish == FinishReason::failed) throw Bug(e.error);
    if (e.finish != FinishReason::none) --left;
  }
  engine.drain();
  return answers;
}

void print(const Options& o, const std::vector<Answer>& answers) {
  if (o.json) {
    Json out = {{"ids", Json::array()}};
    if (o.has_prompt) out["text"] = Json::array();
    for (const Answer& a : answers) {
      out["ids"].push_back(a.ids);
      if (o.has_prompt) out["text"].push_back(a.text);
    }
    std::printf("%s\n", dump_json(out).c_str());
    return;
  }
  if (o.has_prompt) {
    std::fputs("\n", stdout);
    return;
  }
  for (const Answer& a : answers) {
    std::vector<std::string> words;
    for (const int32_t id : a.ids) words.push_back(cat(id));
    std::printf("%s\n", join(words, " ").c_str());
  }
}

}  // namespace

int run_generate(const std::vector<std::string>& arguments) {
  Options o;
  if (!read_options(arguments, o)) return 0;
  const Device device = o.model.device();
  const auto model = std::make_shared<Model>(o.model.load(device));
  const Blueprint& b = model->decoder->blueprint();
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<std::vector<int32_t>> prompts;
  if (o.has_prompt) {
    tokenizer = load_fitting_tokenizer(model->tokenizer_directory, b.vocab);
    prompts.push_back(encode_prompt(*tokenizer, o.prompt));
  } else {
    prompts = read_id_lists(o.tokens, b.vocab);
  }
  std::vector<Answer> answers;
  if (!prompts.empty()) {
    EventQueue events;
    Engine engine(device, model, tokenizer, engine_options(o, b, prompts));
    answers = answer_all(engine, events, o, std::move(prompts));
  }
  print(o, answers);
  return 0;
}

}  // namespace nibble
