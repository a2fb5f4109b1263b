// The learning rate of a step: warm-up from 0, then a curve. The formulas are those of
// transformers.get_scheduler, in fp64.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nibble {

class Schedule {
 public:
  // name: constant, constant_with_warmup, linear or cosine; another is a UserError.
  Schedule(std::string_view name, double peak, int64_t warmup_steps, int64_t total_steps);
  static std::vector<std::string> names();

  // Of optimizer step s, counted from 0: peak × s / warmup while warming up; then constant, linear
  // to 0 at total, or peak × (1 + cos(π progress)) / 2.
  double rate(int64_t step) const;

 private:
  double (*curve_)(int64_t step, int64_t warmup, int64_t total);
  double peak_;
  int64_t warmup_, total_;
};

}  // namespace nibble
