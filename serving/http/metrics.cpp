#include "serving/http/metrics.h"

#include <algorithm>

#include "base/text.h"

namespace nibble::serving::http {
namespace {

std::vector<double> first_token_bounds() {
  return {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
          1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
}
std::vector<double> between_bounds() {
  return {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
          0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
}
std::vector<double> whole_bounds() {
  return {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
          30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
}

std::string escape_label(const std::string& value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

void head(std::string& out, const std::string& name, const char* type, const std::string& help) {
  out += cat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::add(double value, int64_t times) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<size_t>(bucket)] += times;
  sum_ += value * static_cast<double>(times);
  count_ += times;
}

void Histogram::write(std::string& out, const std::string& name, const std::string& help,
                      const std::string& labels) const {
  head(out, name, "histogram", help);
  int64_t below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i];
    out += cat(name, "_bucket{", labels, ",le=\"", bounds_[i], "\"} ", below, "\n");
  }
  out += cat(name, "_bucket{", labels, ",le=\"+Inf\"} ", count_, "\n");
  out += cat(name, "_sum{", labels, "} ", sum_, "\n", name, "_count{", labels, "} ", count_, "\n");
}

Metrics::Metrics()
    : first_token_(first_token_bounds()),
      between_tokens_(between_bounds()),
      whole_(whole_bounds()) {}

void Metrics::first_token(double seconds) {
  const std::lock_guard lock(mutex_);
  first_token_.add(seconds);
}

void Metrics::tokens_after(double seconds, int64_t tokens) {
  const std::lock_guard lock(mutex_);
  if (tokens > 0) between_tokens_.add(seconds / static_cast<double>(tokens), tokens);
}

void Metrics::finished(double seconds) {
  const std::lock_guard lock(mutex_);
  whole_.add(seconds);
}

void Metrics::answered(const std::string& handler, const std::string& method, int status) {
  const std::lock_guard lock(mutex_);
  ++answers_[{handler, method, status}];
}

std::string Metrics::text(const EngineStats& e, const std::string& model) const {
  const std::lock_guard lock(mutex_);
  const std::string labels = cat("model_name=\"", escape_label(model), "\"");
  std::string out;
  auto one = [&](const char* name, const char* type, const char* help, auto value) {
    head(out, name, type, help);
    out += cat(name, "{", labels, "} ", value, "\n");
  };
  one("nibble_num_requests_running", "gauge", "Requests in the running batch.", e.running);
  one("nibble_num_requests_waiting", "gauge", "Requests that wait for room.", e.waiting);
  const double used = e.blocks_total > 0
                          ? static_cast<double>(e.blocks_used) / static_cast<double>(e.blocks_total)
                          : 0.0;
  one("nibble_kv_cache_usage_perc", "gauge", "Used part of the KV cache, 0 to 1.", used);
  one("nibble_kv_blocks_used", "gauge", "KV blocks that requests hold.", e.blocks_used);
  one("nibble_kv_blocks_total", "gauge", "KV blocks there are.", e.blocks_total);
  one("nibble_prompt_tokens_total", "counter", "Prompt tokens computed.", e.prompt_tokens);
  one("nibble_generation_tokens_total", "counter", "Tokens generated.", e.generation_tokens);
  one("nibble_num_preemptions_total", "counter", "Requests set back for want of KV blocks.",
      e.preemptions);
  one("nibble_request_accepted_total", "counter", "Requests taken into the queue.", e.accepted);
  one("nibble_request_rejected_total", "counter", "Requests refused by the queue.", e.rejected);
  one("nibble_request_aborted_total", "counter", "Requests cancelled, mostly by clients that left.",
      e.cancelled);
  one("nibble_request_failed_total", "counter", "Requests that the engine could not finish.",
      e.failed);
  head(out, "nibble_request_success_total", "counter", "Requests finished, by reason.");
  const std::pair<const char*, int64_t> reasons[] = {{"stop", e.finished_stop},
                                                     {"length", e.finished_length}};
  for (const auto& [reason, count] : reasons)
    out += cat("nibble_request_success_total{", labels, ",finished_reason=\"", reason, "\"} ",
               count, "\n");
  first_token_.write(out, "nibble_time_to_first_token_seconds",
                     "From the whole request to its first token.", labels);
  between_tokens_.write(out, "nibble_inter_token_latency_seconds",
                        "Between two tokens of one answer.", labels);
  whole_.write(out, "nibble_e2e_request_latency_seconds",
               "From the whole request to its last token.", labels);
  head(out, "nibble_http_requests_total", "counter", "Answers, by handler, method and status.");
  for (const auto& [key, count] : answers_)
    out += cat("nibble_http_requests_total{handler=\"", std::get<0>(key), "\",method=\"",
               std::get<1>(key), "\",status=\"", std::get<2>(key), "\"} ", count, "\n");
  return out;
}

}  // namespace nibble::serving::http
