// Numbers for Prometheus (text format 0.0.4). What the engine counts is asked for when someone
// looks; what only this layer sees (times, statuses) is counted here.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "serving/stats.h"

namespace nibble::serving::http {

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void add(double value, int64_t times = 1);
  void write(std::string& out, const std::string& name, const std::string& help,
             const std::string& labels) const;

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;  // one more than bounds: above the last
  double sum_ = 0;
  int64_t count_ = 0;
};

class Metrics {
 public:
  Metrics();
  void first_token(double seconds);
  void tokens_after(double seconds, int64_t tokens);  // `tokens` more, this long after the last
  void finished(double seconds);
  void answered(const std::string& handler, const std::string& method, int status);

  std::string text(const EngineStats& engine, const std::string& model) const;

 private:
  mutable std::mutex mutex_;
  Histogram first_token_, between_tokens_, whole_;
  std::map<std::tuple<std::string, std::string, int>, int64_t> answers_;
};

}  // namespace nibble::serving::http
