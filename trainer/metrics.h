// metrics.jsonl: one JSON object a line, flushed at once; a resumed run drops the rows that lie
// beyond the checkpoint it starts from.
#pragma once

#include <cstdio>
#include <string>

#include "base/json.h"

namespace nibble {

class Metrics {
 public:
  Metrics(const std::string& path, int64_t keep_through_step);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  void write(const Json& row);  // a full disk: UserError, exit 74

 private:
  std::string path_;
  std::FILE* file_ = nullptr;
};

int64_t process_peak_bytes();  // VmHWM

}  // namespace nibble
