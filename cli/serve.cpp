// nibble serve: a model behind OpenAI's API. Loads, listens, and on SIGTERM finishes what was
// accepted before it goes.
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "cli/serve_backend.h"
#include "cli/version.h"
#include "serving/http/server.h"

namespace nibble {
namespace {

using serving::EngineOptions;
using serving::http::Server;
using serving::http::ServerOptions;
using serving::http::Service;
using serving::http::ServiceOptions;

struct Options {
  ModelFlags model;
  std::vector<std::string> adapters;
  std::string name, chat_template, host = "127.0.0.1", api_key_file;
  int64_t port = 8000;
  double drain_timeout = 25;
  bool insecure = false;
  EngineOptions engine;
  int64_t seed = 0;
};

struct Later {
  const char* flag;
  const char* what;
};
// Flags that users of other servers reach for.
constexpr Later kLater[] = {
    {"--enable-prefix-caching", "the prefix cache is"},
    {"--kv-cache-dtype", "another type of the KV cache is"},
    {"--tensor-parallel-size", "serving on several devices is"},
    {"--pipeline-parallel-size", "serving on several devices is"},
    {"--data-parallel-size", "serving on several devices is"},
    {"--gpu-memory-utilization", "serving on a GPU is (--kv-cache-bytes sizes the cache)"},
    {"--swap-space", "moving the KV cache to the host is"},
    {"--cpu-offload-gb", "offloading weights is"},
    {"--enable-auto-tool-choice", "tool calling is"},
    {"--tool-call-parser", "tool calling is"},
    {"--reasoning-parser", "parsing of reasoning is"},
    {"--speculative-config", "speculative decoding is"},
    {"--limit-mm-per-prompt", "image input is"},
    {"--ssl-keyfile", "TLS is (put a proxy in front)"},
    {"--ssl-certfile", "TLS is (put a proxy in front)"},
    {"--disable-log-requests", "a request log is (there is none)"},
    {"--kv-transfer-config", "disaggregated serving is"},
};

void refuse_later(const std::vector<std::string>& arguments) {
  std::vector<UserError> mistakes;
  for (const std::string& word : arguments)
    for (const Later& later : kLater)
      if (word.substr(0, word.find('=')) == later.flag)
        mistakes.emplace_back(later.flag, cat(later.what, " not supported yet"), "leave it out");
  if (!mistakes.empty()) throw UserErrors(std::move(mistakes));
}

bool read_options(const std::vector<std::string>& arguments, Options& o) {
  refuse_later(arguments);
  CommandLine line("serve", "serve a model to OpenAI clients",
                   "DIR [--adapter NAME=DIR]… [--quant nf4] [--port N] [options]");
  line.positional("DIR", o.model.model,
                  "a Hugging Face directory, a hub id found in the local cache, or an adapter's "
                  "folder: its base as it was trained on, with it on top");
  Settings& f = line.flags();
  f.heading("Model");
  f.field("adapter", o.adapters, "a LoRA adapter served beside the base, not merged; repeat it")
      .placeholder("NAME=DIR");
  f.field("served_model_name", o.name, "what clients call DIR; its folder's name otherwise")
      .placeholder("NAME");
  f.field("chat_template", o.chat_template,
          "instead of the model's own: chatml, the name of one of its templates, or a Jinja file")
      .placeholder("FILE");
  o.model.declare_weights(f);
  f.heading("Address");
  f.field("host", o.host, "the address to listen on").placeholder("HOST");
  f.field("port", o.port, "0: a free one").range(between(0, 65535));
  f.field("api_key_file", o.api_key_file, "one accepted key a line").placeholder("FILE");
  f.field("insecure", o.insecure, "listen beyond this machine without a key");
  f.field("drain_timeout", o.drain_timeout, "seconds that SIGTERM leaves to running requests")
      .range(between(0, 3600));
  EngineOptions& e = o.engine;
  f.heading("Engine");
  f.field("max_model_len", e.max_context,
          "tokens of a request and its answer; 0: the model's limit")
      .alias("context")
      .range(at_least(0));
  f.field("max_num_seqs", e.max_sequences, "requests in one batch").range(between(1, 4096));
  f.field("max_num_batched_tokens", e.max_batch_tokens, "tokens of one step")
      .range(between(1, 1 << 20));
  f.field("kv_cache_bytes", e.kv_bytes, "0: from the memory that is free").range(at_least(0));
  f.field("max_num_queued_reqs", e.max_queued_requests, "requests that may wait; more get 429")
      .range(at_least(1));
  f.field("max_num_queued_tokens", e.max_queued_tokens, "their prompt tokens").range(at_least(1));
  f.field("seed", o.seed, "for requests without one").range(at_least(0));
  line.note(
      "Prints \"listening on http://HOST:PORT\" on standard error when ready. SIGTERM or Ctrl-C "
      "refuses new requests, finishes the accepted ones and exits with 0; a second one ends now.");
  line.example("nibble serve merged/");
  line.example("nibble serve model/ --quant nf4 --adapter json=out/run1 --adapter mail=out/run2");
  if (!line.parse(arguments)) return false;
  e.seed = static_cast<uint64_t>(o.seed);
  return true;
}

std::vector<std::string> read_keys(const std::string& path) {
  std::vector<std::string> keys;
  if (path.empty()) return keys;
  for (const std::string& line : split(read_file(path), '\n')) {
    const std::string_view key = trim(line);
    if (!key.empty() && key.front() != '#') keys.emplace_back(key);
  }
  if (keys.empty())
    throw UserError(path, "holds no key", "write one key on a line", Exit::bad_data);
  return keys;
}

// Signals become bytes in a pipe: a handler may do little more.
int signal_pipe[2] = {-1, -1};
volatile std::sig_atomic_t signals_seen = 0;

void on_signal(int number) {
  const int saved = errno;
  signals_seen = signals_seen + 1;
  if (signals_seen > 2) {  // even the hasty end hangs
    std::signal(number, SIG_DFL);
    ::raise(number);
  }
  const char byte = 1;
  [[maybe_unused]] const ssize_t written = ::write(signal_pipe[1], &byte, 1);
  errno = saved;
}

void catch_signals() {
  check(::pipe(signal_pipe) == 0, "serve: no pipe");
  for (const int number : {SIGTERM, SIGINT}) std::signal(number, on_signal);
}

bool signal_within(int milliseconds) {
  pollfd look{signal_pipe[0], POLLIN, 0};
  char byte = 0;
  return ::poll(&look, 1, milliseconds) > 0 && ::read(signal_pipe[0], &byte, 1) == 1;
}

// Every connection is a descriptor; the soft limit of many systems is 1024.
void allow_many_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::string short_count(int64_t n) {
  const auto x = static_cast<double>(n);
  if (n >= 1'000'000'000) return cat(fixed(x / 1e9, 2), " B");
  if (n >= 1'000'000) return cat(fixed(x / 1e6, 1), " M");
  return human_count(n);
}

void print_report(const Options& o, ServeBackend& backend, bool keys, bool loopback) {
  const serving::Engine& engine = backend.engine();
  const Model& model = engine.model();
  const std::string format = model.quant ? std::string(name_of(model.quant->format)) : "";
  const int64_t blocks = engine.stats().blocks_total, block = engine.options().block_tokens;
  log::row("model",
           cat(o.model.model, "  ", short_count(model.decoder->blueprint().parameters()),
               " weights, ", format.empty() ? "" : format + " ", human_bytes(model.weight_bytes),
               " · context ", human_count(engine.max_context())));
  log::row("kv", cat(name_of(model.options.compute), ", ", human_count(blocks), " blocks of ",
                     block, " = ", human_bytes(engine.kv_bytes()), " (room for ",
                     human_count(blocks * block), " tokens)"));
  std::vector<std::string> names;
  for (const auto& served : backend.models()) names.push_back(served.id);
  log::row("serves", join(names, ", "));
  if (!backend.has_tokenizer()) log::row("", "no tokenizer: requests and answers are token ids");
  if (keys) {
    log::row("access", cat(loopback ? "loopback only" : "every address that reaches this machine",
                           ", with a key of ", o.api_key_file));
  } else if (loopback) {
    log::row("access",
             "loopback only, no key needed; a key is needed for any other address "
             "(--api-key-file)");
  } else {
    log::warning("access    every address that reaches this machine, without a key (--insecure)");
  }
}

int serve_until_signal(const Options& o, Server& server, serving::Engine& engine) {
  while (!signal_within(1000)) {
  }
  log::row("draining", cat(server.answering(), " requests are finished first, for at most ",
                           human_duration(o.drain_timeout)));
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::milliseconds(static_cast<int64_t>(o.drain_timeout * 1000));
  bool hasty = false;
  while (!server.drain(std::chrono::milliseconds(50)) && std::chrono::steady_clock::now() < end) {
    hasty = signal_within(0);
    if (hasty) break;
  }
  server.stop();
  if (hasty) {  // a step of the engine may be long: it is not waited for
    std::fflush(nullptr);
    std::_Exit(0);
  }
  engine.stop();
  return 0;
}

}  // namespace

int run_serve(const std::vector<std::string>& arguments) {
  Options o;
  if (!read_options(arguments, o)) return 0;
  ServiceOptions general;
  general.version = version();
  general.api_keys = read_keys(o.api_key_file);
  general.loopback = serving::http::is_loopback(o.host);
  const bool keys = !general.api_keys.empty(), loopback = general.loopback;
  if (!loopback && !keys && !o.insecure)
    throw UserError("--host", cat(o.host, " can be reached from other machines, and no key is set"),
                    "give --api-key-file FILE, or --insecure to let everybody in");
  const Device device = o.model.device();
  ServeBackend backend(device, o.model, o.adapters, o.name, o.engine, o.chat_template);
  Service service(backend, std::move(general));
  ServerOptions sockets;
  sockets.host = o.host;
  sockets.port = static_cast<int>(o.port);
  Server server(service, sockets);
  allow_many_files();
  backend.engine().start();
  catch_signals();
  server.start();
  print_report(o, backend, keys, loopback);
  std::fprintf(stderr, "listening on %s\n", server.url().c_str());
  std::fflush(stderr);
  return serve_until_signal(o, server, backend.engine());
}

}  // namespace nibble
